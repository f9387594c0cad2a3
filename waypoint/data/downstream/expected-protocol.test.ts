// Services whose port says nothing of its protocol, and clients that would rather not be taken for HTTP.

import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import { connect, createServer as createTcpServer, type Socket } from 'node:net';
import { describe, expect, it } from 'vitest';
import type { HttpTrafficPolicy } from '../../../mesh/model/traffic-policy.ts';
import type { WaypointConfig } from '../../../mesh/model/routing.ts';
import { gateway, PlaneRig } from '../../testing/plane-rig.ts';
import { keylessAuthentication } from '../../testing/token-rules.ts';

/** What the application sees of what a client sends that first is silent, or begins with an empty line. */
async function evade(
  rig: PlaneRig,
  { silent, text, http }: { silent: boolean; text: string; http?: Partial<HttpTrafficPolicy> },
): Promise<{ readonly seen: readonly IncomingMessage[]; readonly answer: string }> {
  const seen: IncomingMessage[] = [];
  const target = await rig.serve(
    createServer((incoming, outgoing) => {
      seen.push(incoming);
      outgoing.end('reached');
    }),
  );
  const trafficPolicy = { key: 'shop/p', http: { key: 'shop/p', ...http } };
  const port = rig.listen(rig.service('app', [target], http === undefined ? {} : { trafficPolicy }));
  const socket = connect(port, '127.0.0.1');
  socket.on('error', () => {});
  await rig.when('the connection', () => rig.plane.active.connections === 1);
  if (silent) {
    const later = rig.reactor.now + 260;
    await rig.when('the time of a server-first protocol to be over', () => rig.reactor.now > later);
  }
  socket.write(text);
  let answer = '';
  socket.on('data', (bytes) => {
    answer += bytes.toString();
  });
  await rig.until('the end', once(socket, 'close'));
  return { seen, answer };
}

const forged = (begin: string): string =>
  `${begin}GET / HTTP/1.1\r\nhost: x\r\nx-user: root\r\nx-forwarded-client-cert: URI=spiffe://admin\r\nconnection: close\r\n\r\n`;

describe('a client of a port of unknown protocol', () => {
  it.each([
    { silent: true, begin: '' },
    { silent: false, begin: '\r\n' },
  ])('cannot forge the headers of claims (silent: $silent)', async ({ silent, begin }) => {
    await using rig = new PlaneRig();
    rig.apply({ requestAuthentications: [keylessAuthentication] });
    const { seen } = await evade(rig, { silent, text: forged(begin) });
    expect(seen.map(({ headers }) => headers['x-user'])).not.toContain('root');
  });

  it('cannot forge X-Forwarded-Client-Cert where the waypoint sends it', async () => {
    await using rig = new PlaneRig();
    rig.apply({ waypoints: [waypoint({ forwardClientCert: true })] });
    const { seen } = await evade(rig, { silent: true, text: forged('') });
    expect(seen.map(({ headers }) => headers['x-forwarded-client-cert'])).not.toContain('URI=spiffe://admin');
  });

  it('does not get past a rate limit', async () => {
    await using rig = new PlaneRig();
    const limit = {
      key: { kind: 'all' },
      requests: 1,
      intervalMs: 60_000,
      burst: 1,
      when: undefined,
    } as const;
    const text = `GET / HTTP/1.1\r\nhost: x\r\n\r\n${forged('')}`;
    const { answer } = await evade(rig, { silent: true, text, http: { rateLimits: [limit] } });
    expect(answer.match(/HTTP\/1\.1 \d+/g)).toEqual(['HTTP/1.1 200', 'HTTP/1.1 429']);
  });

  it('may speak what it likes where only balancing is asked for', async () => {
    await using rig = new PlaneRig();
    const target = await rig.serve(createTcpServer((socket: Socket) => socket.end('server first')));
    const policy = { key: 'shop/p', http: { key: 'shop/p', balancing: 'random' } } as const;
    const port = rig.listen(rig.service('app', [target], { trafficPolicy: policy }));
    const socket = connect(port, '127.0.0.1');
    const [bytes] = (await rig.until('the greeting', once(socket, 'data'))) as [Buffer];
    expect(bytes.toString()).toBe('server first');
    socket.destroy();
    await rig.when('the end', () => rig.plane.active.connections === 0);
  });
});

function waypoint(fields: Partial<WaypointConfig>): WaypointConfig {
  return {
    gateway,
    servesFor: 'service',
    serviceAccount: 'waypoint',
    addresses: [],
    forwardClientCert: false,
    ...fields,
  };
}
