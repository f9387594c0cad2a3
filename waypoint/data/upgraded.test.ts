// Connections that were upgraded: they end on their own, one direction after the other, but not never.

import { once } from 'node:events';
import { createServer } from 'node:http';
import { connect, type Socket } from 'node:net';
import { describe, expect, it } from 'vitest';
import { PlaneRig } from '../testing/plane-rig.ts';

describe('an upgraded connection', () => {
  it('ends when its client has gone and its endpoint neither says anything nor ends', async () => {
    await using rig = new PlaneRig({ halfClosedTimeoutMs: 60 });
    const server = createServer();
    const upgraded: Socket[] = [];
    server.on('upgrade', (_incoming, socket: Socket) => {
      upgraded.push(socket);
      socket.resume().write('HTTP/1.1 101 Go\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n');
    });
    const port = rig.listen(rig.service('app', [await rig.serve(server)]));
    const client = connect(port, '127.0.0.1');
    client.write('GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n');
    await rig.until('the upgrade', once(client, 'data'));
    client.end();
    let said = 0;
    for (const later = rig.reactor.now + 150; rig.reactor.now < later; ) {
      upgraded[0]?.write('still here');
      said++;
      const next = rig.reactor.now + 10;
      await rig.when('a moment', () => rig.reactor.now > next);
    }
    expect([said > 3, rig.plane.active.requests]).toEqual([true, 1]);
    expect(await rig.record()).toMatchObject({ status: 101, flag: 'SI' });
    client.destroy();
  });
});
