// Certificates in use: renewed under load without anybody noticing, withdrawn, expired, or of a foreign root. What does
// not verify carries nothing, and the logs say why.

import { setImmediate as turn } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { skipKernelTests, skipReason } from '../bpf/testing/kernel-suite.ts';
import { TestAuthority } from '../mesh/io/testing/authority.ts';
import { DataPlaneRig, type RigPod } from './testing/data-plane-rig.ts';
import { connectFrom, echo, ending, type PodServer, roundTrip, serve } from './testing/pod-sockets.ts';

const port = 8080;

describe.skipIf(skipKernelTests)(`workload certificates in use${skipReason}`, () => {
  let rig: DataPlaneRig;
  let client: RigPod;
  let server: RigPod;
  let app: PodServer;

  beforeAll(async () => {
    rig = await DataPlaneRig.open();
    client = await rig.addPod('client');
    server = await rig.addPod('server', { node: 'node-2' });
    app = serve(server, port, echo);
  });

  afterEach(async () => {
    for (const pod of [client, server]) await rig.renew(pod.spiffeId);
    const socket = connectFrom(client, server.ipv4, port);
    expect(await roundTrip(socket)).toBe('ping');
    socket.destroy();
  });

  afterAll(async () => {
    await app[Symbol.asyncDispose]();
    for (const node of rig.nodes) expect(node.problems).toEqual([]);
    await rig[Symbol.asyncDispose]();
  });

  it('are renewed 60 times under a loop of connects: nothing fails, what is open stays open', async () => {
    let stopping = false;
    const answers = new Map<string, number>();
    const loops = Array.from({ length: 4 }, async () => {
      while (!stopping) {
        const socket = connectFrom(client, server.ipv4, port);
        const answer = await roundTrip(socket);
        answers.set(answer, (answers.get(answer) ?? 0) + 1);
        socket.destroy();
        await turn();
      }
    });
    const held = connectFrom(client, server.ipv4, port);
    expect(await roundTrip(held)).toBe('ping');
    for (let i = 0; i < 60; i++) {
      await rig.renew(i % 2 === 0 ? client.spiffeId : server.spiffeId);
      expect(await roundTrip(held)).toBe('ping');
    }
    stopping = true;
    await Promise.all(loops);
    expect([...answers.keys()]).toEqual(['ping']);
    held.destroy();
  });

  it('that are withdrawn let nothing new out or in, and what is open lives on', async () => {
    const held = connectFrom(client, server.ipv4, port);
    expect(await roundTrip(held)).toBe('ping');
    await rig.tellAll({ kind: 'certificate-removed', spiffeId: client.spiffeId });
    expect(await ending(connectFrom(client, server.ipv4, port))).toBe('ECONNRESET');
    await client.node.logLine(/No certificate for spiffe:\/\/cluster.local\/ns\/shop\/sa\/client/);
    expect(await roundTrip(held)).toBe('ping');
    held.destroy();
    await rig.renew(client.spiffeId);
    await rig.tellAll({ kind: 'certificate-removed', spiffeId: server.spiffeId });
    expect(await ending(connectFrom(client, server.ipv4, port))).toBe('ECONNRESET');
  });

  it('that have expired are refused whichever side has them, and the log says so', async () => {
    const expired = async (pod: RigPod) =>
      await rig.renew(pod.spiffeId, await rig.authority.issue({ uris: [pod.spiffeId], notAfterMs: -1_000 }));
    await expired(server);
    // Tunnels made before go on with what they proved then: only a new one shows.
    await rig.renew(client.spiffeId);
    expect(await ending(connectFrom(client, server.ipv4, port))).toBe('ECONNRESET');
    await client.node.logLine(/certificate has expired.*TLS_FAILURE/);
    await rig.renew(server.spiffeId);
    const from = server.node.log.length;
    await expired(client);
    expect(await ending(connectFrom(client, server.ipv4, port))).toBe('ECONNRESET');
    await server.node.logLine(/certificate has expired.*TLS_FAILURE/, from);
  });

  it('of a foreign root, or for another workload, are refused by the client before a byte is sent', async () => {
    const accepted = app.accepted.length;
    const foreign = await TestAuthority.create('somebody else');
    await rig.renew(server.spiffeId, await foreign.issue({ uris: [server.spiffeId] }));
    await rig.renew(client.spiffeId);
    const socket = connectFrom(client, server.ipv4, port);
    socket.write('a secret');
    expect(await ending(socket)).toBe('ECONNRESET');
    await client.node.logLine(/peer certificate: .*TLS_FAILURE/);
    await rig.renew(server.spiffeId, await rig.authority.issue({ uris: [client.spiffeId] }));
    await rig.renew(client.spiffeId);
    expect(await ending(connectFrom(client, server.ipv4, port))).toBe('ECONNRESET');
    await client.node.logLine(/did not present the expected identity.*IDENTITY_ERROR/);
    expect(app.accepted.length).toBe(accepted);
  });

  it('with two roots go on through a change of the root', async () => {
    const next = await TestAuthority.create('the next root');
    const both = `${rig.authority.rootPem}${next.rootPem}`;
    const held = connectFrom(client, server.ipv4, port);
    const steps = [
      { signer: rig.authority, roots: both },
      { signer: next, roots: both },
      { signer: next, roots: next.rootPem },
    ];
    for (const { signer, roots } of steps) {
      for (const pod of [client, server]) {
        await rig.renew(pod.spiffeId, await signer.issue({ uris: [pod.spiffeId], rootsPem: roots }));
        const socket = connectFrom(client, server.ipv4, port);
        expect(await roundTrip(socket)).toBe('ping');
        socket.destroy();
      }
    }
    expect(await roundTrip(held)).toBe('ping');
    held.destroy();
  });
});
