// A pod that stands in for others (WIRE 1.7): connections end at its one port on loopback, each with a PROXY header that
// says who the client is and what it wanted.

import net from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { skipKernelTests, skipReason } from '../bpf/testing/kernel-suite.ts';
import { proxyHeader } from '../mesh/hbone/proxy-protocol.ts';
import { withNetns } from '../mesh/io/netns.ts';
import { listenTcp } from '../mesh/io/socket.ts';
import { ip } from '../mesh/model/fixture.ts';
import { DataPlaneRig, type RigPod } from './testing/data-plane-rig.ts';
import { connectFrom, readAll, serve } from './testing/pod-sockets.ts';

const tunnelPort = 15_088;
const askedPort = 8_080;

describe.skipIf(skipKernelTests)(`an application tunnel${skipReason}`, () => {
  let rig: DataPlaneRig;
  let client: RigPod;
  let proxied: RigPod;
  let renumbered: RigPod;
  const servers: net.Server[] = [];

  beforeAll(async () => {
    rig = await DataPlaneRig.open();
    client = await rig.addPod('client');
    proxied = await rig.addPod('proxied', {
      node: 'node-2',
      workload: { applicationTunnel: { protocol: 'proxy', port: tunnelPort } },
    });
    renumbered = await rig.addPod('renumbered', {
      node: 'node-2',
      workload: { applicationTunnel: { protocol: 'none', port: tunnelPort } },
    });
    for (const address of ['127.0.0.1', '::1']) {
      const fd = withNetns(proxied.netnsPath, () => listenTcp({ address: ip(address), port: tunnelPort }));
      const server = net.createServer({ allowHalfOpen: true }, (socket) => socket.pipe(socket));
      servers.push(server.listen({ fd }));
    }
  });

  afterAll(async () => {
    for (const server of servers) server.close();
    for (const node of rig.nodes) expect(node.problems).toEqual([]);
    await rig[Symbol.asyncDispose]();
  });

  it.each(['ipv4', 'ipv6'] as const)('begins with client, destination and identity (%s)', async (family) => {
    const socket = connectFrom(client, proxied[family], askedPort);
    socket.end('the bytes');
    const seen = await readAll(socket);
    // After signature, lengths and both addresses.
    const port = seen.readUInt16BE(family === 'ipv4' ? 24 : 48);
    expect(port).toBeGreaterThan(1_023);
    const header = proxyHeader({
      source: { address: client[family], port },
      destination: { address: proxied[family], port: askedPort },
      identity: client.spiffeId,
    });
    expect(seen.toString('latin1')).toBe(`${header.toString('latin1')}the bytes`);
  });

  it('without a protocol only leads to another port', async () => {
    await using _app = serve(renumbered, tunnelPort, (socket) => socket.end('there'));
    const socket = connectFrom(client, renumbered.ipv4, askedPort);
    expect((await readAll(socket)).toString()).toBe('there');
    socket.destroy();
  });
});
