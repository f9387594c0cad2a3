// What does not go well: strangers, garbage, foreign certificates, silent and slow peers.

import { create } from '@bufbuild/protobuf';
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { status } from '@grpc/grpc-js';
import { afterEach, describe, expect, test } from 'vitest';
import {
  IstioCertificateRequestSchema,
  IstioCertificateResponseSchema,
  IstioCertificateService,
} from './gen/istio/v1/auth/ca_pb.ts';
import { openChannel } from './grpc-channel.ts';
import { grpcService } from './grpc-service.ts';
import { publish } from './publish.ts';
import {
  connectRawNode,
  type FakeServer,
  type RawNode,
  response,
  startFakeServer,
} from './testing/raw-peers.ts';
import {
  makeDelta,
  makePolicy,
  makeWorkload,
  startController,
  type TestController,
  TestNode,
} from './testing/test-mesh.ts';
import { makeTestRoot } from './testing/test-pki.ts';
import { addressType, authorizationType, weftTypes } from './type-urls.ts';
import { encodeWorkload } from './workload-codec.ts';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function controller(options: Parameters<typeof startController>[0] = {}): Promise<TestController> {
  const started = await startController(options);
  cleanups.push(() => started.stop());
  return started;
}

async function fakeServer(serialize?: Parameters<typeof startFakeServer>[0]): Promise<FakeServer> {
  const server = await startFakeServer(serialize);
  cleanups.push(() => server.stop());
  return server;
}

function node(...args: ConstructorParameters<typeof TestNode>): TestNode {
  const made = new TestNode(...args);
  cleanups.push(() => made.client.close());
  made.client.start();
  return made;
}

function rawNode(...args: Parameters<typeof connectRawNode>): RawNode {
  const made = connectRawNode(...args);
  cleanups.push(() => made.close());
  return made;
}

describe('a client of an istiod', () => {
  test('asks for addresses, then policies, with its node in both, and for nothing that is only ours', async () => {
    const server = await fakeServer();
    const messages: string[] = [];
    const terminated: string[] = [];
    const metrics = {
      message: (typeUrl: string, bytes: number) => messages.push(`${typeUrl} ${bytes > 0}`),
      terminated: (reason: string) => terminated.push(reason),
    };
    const client = node(server, { metrics });
    const call = await server.calls.next();
    expect(call.metadata.get('authorization')).toEqual(['Bearer node-a']);
    expect(call.metadata.get('clusterid')).toEqual(['Kubernetes']);
    const [first, second] = [await server.requests.next(), await server.requests.next()];
    expect([first.typeUrl, second.typeUrl]).toEqual([addressType, authorizationType]);
    for (const request of [first, second]) {
      expect(request.node?.id).toBe('ztunnel~127.0.0.1~z.ns~ns.svc.cluster.local');
      expect(request.node?.metadata).toEqual({ NODE_NAME: 'node-a' });
      expect([request.resourceNamesSubscribe, request.resourceNamesUnsubscribe]).toEqual([[], []]);
    }
    call.write(response({ typeUrl: addressType, nonce: 'n1' }));
    const ack = await server.requests.next();
    expect(ack).toMatchObject({ typeUrl: addressType, responseNonce: 'n1' });
    expect([ack.node, ack.errorDetail]).toEqual([undefined, undefined]);
    expect(client.synced).toBe(0);
    call.write(response({ typeUrl: authorizationType, nonce: 'n2' }));
    expect(await server.requests.next()).toMatchObject({ typeUrl: authorizationType, responseNonce: 'n2' });
    await client.until(() => client.synced === 1);
    call.end();
    await client.until(() => client.state === 'disconnected');
    expect(client.reasons).toEqual(['The controller ended the stream']);
    expect([messages, terminated]).toEqual([
      [`${addressType} true`, `${authorizationType} true`],
      ['complete'],
    ]);
  });

  test('names what it refused and why, and what it accepted when it comes back', async () => {
    const server = await fakeServer();
    const client = node(server);
    const call = await server.calls.next();
    await server.requests.next();
    await server.requests.next();
    const { any, version } = encodeWorkload(makeWorkload('ok'));
    call.write(
      response({
        typeUrl: addressType,
        nonce: 'n1',
        resources: [
          { name: 'c//Pod/shop/ok', version, resource: any },
          { name: 'broken', version: 'v', resource: { typeUrl: addressType, value: Uint8Array.of() } },
          { name: 'empty', version: 'v' },
        ],
      }),
    );
    expect((await server.requests.next()).errorDetail).toMatchObject({
      code: 0,
      message: 'broken: Field type is neither a workload nor a service; empty: The resource has no content',
    });
    expect(client.workloads.size).toBe(1);
    call.end();
    await client.until(() => client.state === 'disconnected');
    client.retry();
    expect((await server.requests.next()).initialResourceVersions).toEqual({ 'c//Pod/shop/ok': version });
  });

  test('on demand, first asks for nothing, then for one name at a time', async () => {
    const server = await fakeServer();
    const client = node(server, { mode: 'on-demand' });
    const first = await server.requests.next();
    expect([first.resourceNamesSubscribe, first.resourceNamesUnsubscribe]).toEqual([['*'], ['*']]);
    expect((await server.requests.next()).resourceNamesSubscribe).toEqual([]);
    const answer = client.client.demand('/10.0.0.1');
    const asked = await server.requests.next();
    expect([asked.typeUrl, asked.resourceNamesSubscribe]).toEqual([addressType, ['/10.0.0.1']]);
    const call = await server.calls.next();
    call.write(response({ typeUrl: authorizationType, nonce: 'p' }));
    await client.until(() => client.synced === 1);
    call.write(response({ typeUrl: addressType, nonce: 'a', removedResources: ['/10.0.0.1'] }));
    expect(await answer).toBe('absent');
  });

  test('refuses a type it never asked for and goes on', async () => {
    const server = await fakeServer();
    const client = node(server);
    const call = await server.calls.next();
    await server.requests.next();
    await server.requests.next();
    call.write(response({ typeUrl: 'type.googleapis.com/x.Y', nonce: 'n1' }));
    expect((await server.requests.next()).errorDetail?.message).toBe(
      'Type "type.googleapis.com/x.Y" was not asked for',
    );
    expect(client.state).toBe('connected');
  });
});

describe('a client of something else', () => {
  test('ends a stream of garbage, says so, waits longer each time and never stops trying', async () => {
    const server = await fakeServer(() => Buffer.from([255, 255, 255]));
    const delays: number[] = [];
    const client = node(server);
    for (let attempt = 0; attempt < 5; attempt++) {
      const call = await server.calls.next();
      call.write(response({ typeUrl: addressType, nonce: 'n' }));
      await client.until(() => client.reasons.length === attempt + 1);
      expect(client.reasons[attempt]).toMatch(/^INTERNAL: .*parsing/);
      delays.push(client.retry());
    }
    expect(delays).toEqual([10, 20, 40, 80, 160]);
  });

  test('gives a clear reason when the port speaks no TLS', async () => {
    const server = createServer((socket) =>
      socket.end('220 mail.example.com ESMTP\r\n').on('error', () => {}),
    );
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    cleanups.push(() => server.close());
    const client = node({ port: (server.address() as AddressInfo).port, root: await makeTestRoot() });
    await client.until(() => client.state === 'disconnected');
    expect(client.reasons[0]).toMatch(
      /^UNAVAILABLE: .*is the controller running, and do the roots belong to it\?$/,
    );
    client.retry();
    await client.until(() => client.reasons.length === 2);
  });

  test('gives up a connection that does not come about within 10 s', async () => {
    const server = createServer((socket) => void socket.on('error', () => {}));
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    cleanups.push(() => server.close());
    const client = node({ port: (server.address() as AddressInfo).port, root: await makeTestRoot() });
    const [socket] = await once(server, 'connection');
    client.clock.advance(9_999);
    expect(client.state).toBe('connecting');
    client.clock.advance(1);
    expect(client.reasons).toEqual(['DEADLINE_EXCEEDED: No connection in time']);
    socket.destroy();
  });

  test('does not talk to a controller of other roots, and does once the roots are right', async () => {
    const server = await controller();
    const foreign = await makeTestRoot();
    let roots = foreign.certificate;
    const client = node(server, { rootCertificates: () => roots });
    await client.until(() => client.state === 'disconnected');
    expect(client.reasons[0]).toMatch(/^UNAVAILABLE: .*certificate/);
    roots = server.root.certificate;
    client.retry();
    await client.until(() => client.synced === 1);
  });

  test('does not talk to a controller of another name unless that is the second accepted one', async () => {
    const server = await fakeServer();
    const named = { address: `localhost:${server.port}` };
    const wrong = node(server, named);
    await wrong.until(() => wrong.state === 'disconnected');
    expect(wrong.reasons[0]).toMatch(/UNAVAILABLE/);
    node(server, { ...named, serverName: '127.0.0.1' });
    expect((await server.requests.next()).typeUrl).toBe(addressType);
  });

  test('reports roots that are none and a token that no header takes, without showing the token', async () => {
    const server = await controller();
    const rootless = node(server, {
      rootCertificates: () => {
        throw new Error('Reading "root.pem" failed');
      },
    });
    expect(rootless.reasons).toEqual(['Preparing the connection failed: Reading "root.pem" failed']);
    const tokenless = node(server, { token: () => 'secret\u00e9' });
    expect(tokenless.reasons[0]).toContain('The token is empty or has characters');
    expect(tokenless.reasons[0]).not.toContain('secret');
  });
});

test.each([
  ['http://127.0.0.1:15012', 'Unsupported scheme "http"'],
  ['127.0.0.1', 'must be HOST:PORT'],
  ['https://', 'must be HOST:PORT'],
  ['::1:15012', 'must be HOST:PORT'],
])('the address %s is refused', (address, message) => {
  expect(() => new TestNode({ port: 1, root: {} as never }, { address })).toThrow(message);
});

describe('a stream without a valid token', () => {
  test('is refused before anything is read or told, and taken with the next token', async () => {
    const server = await controller();
    publish(server.store, makeDelta({ workloads: [makeWorkload('secret')] }));
    let token: string | undefined = 'wrong';
    const client = node(server, { token: () => token });
    await client.until(() => client.state === 'disconnected');
    expect(client.reasons[0]).toMatch(
      /^UNAUTHENTICATED: The token is missing, expired or not for this controller/,
    );
    token = undefined;
    client.retry();
    await client.until(() => client.reasons.length === 2);
    expect(client.reasons[1]).toMatch(/^UNAUTHENTICATED/);
    expect([client.deltas, client.states.includes('connected'), server.xds.streams()]).toEqual([
      [],
      false,
      [],
    ]);
    token = 'node-a\n';
    client.retry();
    await client.until(() => client.synced === 1);
  });

  test('is refused when the client runs on another node than the token says, and says so', async () => {
    const server = await controller({
      authenticate: ({ token = '' }) => ({ name: token, node: token, nodeName: token }),
    });
    publish(server.store, makeDelta({ workloads: [makeWorkload('secret')] }));
    let token = 'node-b';
    const client = node(server, { token: () => token });
    await client.until(() => client.state === 'disconnected');
    expect(client.reasons[0]).toMatch(
      /^PERMISSION_DENIED: The token is of node "node-b", but this client runs on node "node-a": give it a token of its own node/,
    );
    expect(client.deltas).toEqual([]);
    token = 'node-a';
    client.retry();
    await client.until(() => client.synced === 1);
  });

  test('is asked to come back when tokens cannot be checked', async () => {
    const server = await controller({ authenticate: () => Promise.reject(new Error('API server is away')) });
    const raw = rawNode(server);
    expect(await raw.status).toMatchObject({ code: status.UNAVAILABLE });
  });
});

describe('a server', () => {
  test('serves a fast node while a slow one acknowledges nothing, and tells the slow one once at the end', async () => {
    const server = await controller();
    const slow = rawNode(server, { token: 'node-b' });
    slow.send({ typeUrl: addressType });
    const first = await slow.responses.next();
    const fast = node(server);
    await fast.until(() => fast.synced === 1);
    for (let round = 1; round <= 50; round++) {
      publish(
        server.store,
        makeDelta({ workloads: [makeWorkload('busy', { capacity: round }), makeWorkload(`w${round}`)] }),
      );
      server.store.flush();
      await fast.until(() => fast.workloads.get(makeWorkload('busy').uid)?.capacity === round);
    }
    expect(slow.responses.size).toBe(0);
    slow.send({ typeUrl: addressType, responseNonce: first.nonce });
    const coalesced = await slow.responses.next();
    expect(coalesced.resources.length).toBe(51);
  });

  test('serves a fast node while another does not read at all', async () => {
    const server = await controller();
    const workloads = Array.from({ length: 2_000 }, (_, i) =>
      makeWorkload(`w${i}`, { workloadName: 'x'.repeat(1_000) }),
    );
    publish(server.store, makeDelta({ workloads }));
    const stuck = rawNode(server, { token: 'node-b', reading: false });
    stuck.send({ typeUrl: addressType });
    stuck.send({ typeUrl: authorizationType });
    const fast = node(server);
    await fast.until(() => fast.synced === 1);
    publish(server.store, makeDelta({ policies: [makePolicy('p')] }));
    server.store.flush();
    await fast.until(() => fast.policies.size === 1);
    expect(fast.workloads.size).toBe(2_000);
  });

  test('cuts a response that grows too large into several', async () => {
    const server = await controller({ maxResponseBytes: 1_000 });
    publish(
      server.store,
      makeDelta({ workloads: Array.from({ length: 100 }, (_, i) => makeWorkload(`w${i}`)) }),
    );
    const client = node(server);
    await client.until(() => client.workloads.size === 100);
    expect(client.deltas.length).toBeGreaterThan(5);
  });

  test('ignores the answer to a response that is not the last', async () => {
    const server = await controller();
    const raw = rawNode(server);
    raw.send({ typeUrl: addressType });
    const { nonce } = await raw.responses.next();
    raw.send({ typeUrl: addressType, responseNonce: 'old', errorDetail: { message: 'stale' } });
    raw.send({ typeUrl: addressType, responseNonce: nonce, errorDetail: { message: 'x'.repeat(5_000) } });
    raw.send({ typeUrl: authorizationType });
    await raw.responses.next();
    expect(server.xds.counters.nacks).toBe(1);
    expect(server.xds.streams()[0]?.types[addressType]).toMatchObject({
      acked: true,
      nacks: 1,
      lastNack: 'x'.repeat(2_000),
    });
  });

  test('answers a type nobody serves as empty', async () => {
    const raw = rawNode(await controller());
    raw.send({ typeUrl: 'type.googleapis.com/x.Y' });
    expect(await raw.responses.next()).toMatchObject({ typeUrl: 'type.googleapis.com/x.Y', resources: [] });
  });

  test('ends a stream that asks for too many types or names, and no other', async () => {
    const server = await controller();
    const many = rawNode(server);
    for (let i = 0; i < 33; i++) many.send({ typeUrl: `t${i}` });
    expect(await many.status).toMatchObject({ code: status.RESOURCE_EXHAUSTED });
    const greedy = rawNode(server);
    greedy.send({
      typeUrl: addressType,
      resourceNamesSubscribe: Array.from({ length: 200_001 }, (_, i) => `/${i}`),
    });
    expect(await greedy.status).toMatchObject({ code: status.RESOURCE_EXHAUSTED });
    const modest = node(server);
    await modest.until(() => modest.synced === 1);
  });

  test('limits the streams of one caller, and frees them when they end', async () => {
    const server = await controller({ maxStreamsPerCaller: 1 });
    const one = rawNode(server);
    one.send({ typeUrl: addressType });
    await one.responses.next();
    expect(await rawNode(server).status).toMatchObject({ code: status.RESOURCE_EXHAUSTED });
    one.call.end();
    await one.status;
    expect(server.xds.streams()).toEqual([]);
    const next = rawNode(server);
    next.send({ typeUrl: addressType });
    await next.responses.next();
  });

  test('ends a stream of garbage and serves the next', async () => {
    const server = await controller();
    const client = openChannel({
      address: { host: '127.0.0.1', port: server.port },
      rootCertificates: server.root.certificate,
    });
    cleanups.push(() => client.close());
    const identity = (bytes: Buffer) => bytes;
    const path = '/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources';
    const { Metadata } = await import('@grpc/grpc-js');
    const metadata = new Metadata();
    metadata.set('authorization', 'Bearer node-a');
    const call = client.makeBidiStreamRequest(path, identity, identity, metadata);
    call.on('error', () => {});
    call.on('data', () => {});
    call.write(Buffer.from([255, 255, 255]));
    const end = await new Promise((resolve) => call.on('status', resolve));
    expect(end).toMatchObject({ code: status.INTERNAL });
    expect(server.xds.streams()).toEqual([]);
    const good = node(server);
    await good.until(() => good.synced === 1);
  });

  test('uses a new certificate for new connections and keeps the old one when the new does not work', async () => {
    const server = await controller();
    const [nextRoot, roots] = [await makeTestRoot(), { current: server.root.certificate }];
    const client = node(server, { rootCertificates: () => roots.current });
    await client.until(() => client.synced === 1);
    expect(() => server.grpc.updateTls({ key: 'x', certificateChain: 'y' })).toThrow(
      /Using the server certificate failed/,
    );
    const before = node(server);
    await before.until(() => before.synced === 1);
    server.grpc.updateTls(await nextRoot.issue({ ip: ['127.0.0.1'] }));
    const after = node({ ...server, root: nextRoot });
    await after.until(() => after.synced === 1);
    const outdated = node(server);
    await outdated.until(() => outdated.state === 'disconnected');
    expect(client.states).toEqual(['connecting', 'connected']);
  });

  test('reports a port that is taken', async () => {
    const server = await controller();
    await expect(startController({ port: server.port })).rejects.toMatchObject({ code: 'BIND_FAILED' });
  });

  test('carries other services, such as the certificate service', async () => {
    const root = await makeTestRoot();
    const { GrpcServer } = await import('./grpc-server.ts');
    const { immediately } = await import('./testing/test-mesh.ts');
    const grpc = new GrpcServer({ tls: await root.issue({ ip: ['127.0.0.1'] }) });
    const definition = grpcService(IstioCertificateService);
    grpc.addService(definition, {
      createCertificate: (
        { request }: { request: { csr: string } },
        reply: (error: null, response: unknown) => void,
      ) => reply(null, create(IstioCertificateResponseSchema, { certChain: [request.csr, 'root'] })),
    });
    const port = await grpc.bind('127.0.0.1:0');
    cleanups.push(() => grpc.close({ clock: immediately }));
    const client = openChannel({ address: { host: '127.0.0.1', port }, rootCertificates: root.certificate });
    cleanups.push(() => client.close());
    const { path, requestSerialize, responseDeserialize } = definition.createCertificate;
    const chain = await new Promise((resolve, reject) => {
      const request = create(IstioCertificateRequestSchema, { csr: 'csr', validityDuration: 86_400n });
      client.makeUnaryRequest(path, requestSerialize, responseDeserialize, request, (error, reply) =>
        error ? reject(error) : resolve(reply?.certChain),
      );
    });
    expect(chain).toEqual(['csr', 'root']);
  });
});

test('a Weft controller is asked for our own types, and sync waits for them', async () => {
  const server = await controller();
  const client = node(server);
  await client.until(() => client.synced === 1);
  const types = Object.keys(server.xds.streams()[0]?.types ?? {});
  expect(types).toEqual(expect.arrayContaining([...weftTypes]));
});
