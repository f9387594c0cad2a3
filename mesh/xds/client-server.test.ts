// The whole cycle over real TLS and gRPC on loopback: what the store holds is what the node knows.

import { readdirSync } from 'node:fs';
import { setImmediate } from 'node:timers/promises';
import { create } from '@bufbuild/protobuf';
import { AnySchema } from '@bufbuild/protobuf/wkt';
import { afterEach, describe, expect, test } from 'vitest';
import type { IpAddress } from '../model/ip-address.ts';
import { defaultMeshConfig } from '../model/mesh-config.ts';
import type { PolicyKey, WorkloadUid } from '../model/workload.ts';
import { encodeAuthorization } from './authorization-codec.ts';
import { publish, publishModel } from './publish.ts';
import {
  makeDelta,
  makePod,
  makePolicy,
  makeService,
  makeWorkload,
  startController,
  type TestController,
  TestNode,
} from './testing/test-mesh.ts';
import { addressType, authorizationType, meshConfigType } from './type-urls.ts';

const cleanups: (() => void | Promise<void>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function controller(options: Parameters<typeof startController>[0] = {}): Promise<TestController> {
  const started = await startController(options);
  cleanups.push(() => started.stop());
  return started;
}

function node(target: TestController, options: ConstructorParameters<typeof TestNode>[1] = {}): TestNode {
  const made = new TestNode(target, options);
  cleanups.push(() => made.client.close());
  made.client.start();
  return made;
}

describe('a wildcard client', () => {
  test('is synced once, with everything that is there, before it hears that it is', async () => {
    const server = await controller();
    const [api, db, policy] = [makeWorkload('api'), makeService('db'), makePolicy('deny-all')];
    const meshConfig = { ...defaultMeshConfig, unknownDestinations: 'deny' as const };
    publish(
      server.store,
      makeDelta({
        workloads: [api],
        services: [db],
        policies: [policy],
        pods: [makePod('api', 'node-a')],
        meshConfig,
      }),
    );
    const client = node(server);
    await client.until(() => client.synced > 0);
    expect([...client.workloads.values()]).toEqual([api]);
    expect([...client.services.values()]).toEqual([db]);
    expect([...client.policies.values()]).toEqual([policy]);
    expect(client.pods.size).toBe(1);
    expect(client.meshConfig).toEqual(meshConfig);
    expect(client.synced).toBe(1);
    expect(client.states).toEqual(['connecting', 'connected']);
  });

  test('is synced when there is nothing at all', async () => {
    const client = node(await controller());
    await client.until(() => client.synced > 0);
    expect(client.deltas).toEqual([]);
  });

  test('hears of changes and removals', async () => {
    const server = await controller();
    const api = makeWorkload('api');
    publish(server.store, makeDelta({ workloads: [api], services: [makeService('db')] }));
    const client = node(server);
    await client.until(() => client.synced > 0);
    publish(
      server.store,
      makeDelta({
        workloads: [{ ...api, health: 'unhealthy' }],
        removed: { services: [makeService('db').key] },
      }),
    );
    server.store.flush();
    await client.until(() => client.services.size === 0);
    expect(client.workloads.get(api.uid)?.health).toBe('unhealthy');
  });

  test('sees the pods of its own node only, and none by name of another', async () => {
    const server = await controller();
    publish(server.store, makeDelta({ pods: [makePod('mine', 'node-a'), makePod('other', 'node-b')] }));
    const client = node(server);
    await client.until(() => client.synced > 0);
    expect([...client.pods.values()].map(({ name }) => name)).toEqual(['mine']);
    const told = client.deltas.length;
    publish(
      server.store,
      makeDelta({ pods: [makePod('third', 'node-b')], removed: { pods: [makePod('other', '').uid] } }),
    );
    publish(server.store, makeDelta({ pods: [makePod('mine', 'node-b'), makePod('new', 'node-a')] }));
    server.store.flush();
    await client.until(() => client.pods.has(makePod('new', '').uid) && client.pods.size === 1);
    expect(client.deltas.slice(told)).toEqual([
      makeDelta({ pods: [makePod('new', 'node-a')], removed: { pods: [makePod('mine', '').uid] } }),
    ]);
  });

  test('falls back to the default mesh settings when the object is deleted', async () => {
    const server = await controller();
    publish(server.store, makeDelta({ meshConfig: { ...defaultMeshConfig, mtls: 'strict' } }));
    const client = node(server);
    await client.until(() => client.meshConfig?.mtls === 'strict');
    server.store.set(meshConfigType, []);
    server.store.flush();
    await client.until(() => client.meshConfig?.mtls === 'permissive');
  });

  test('applies the good half of an update, refuses the bad by name and keeps its last good state', async () => {
    const server = await controller();
    const policy = makePolicy('limits');
    publish(server.store, makeDelta({ policies: [policy] }));
    const client = node(server);
    await client.until(() => client.synced > 0);
    const garbage = create(AnySchema, { typeUrl: authorizationType, value: Uint8Array.of(255, 255) });
    server.store.apply(authorizationType, {
      upserted: [
        { ...encodeAuthorization(policy), any: garbage, version: 'bad' },
        encodeAuthorization(makePolicy('good')),
      ],
    });
    server.store.flush();
    await client.until(() => client.policies.size === 2);
    expect(client.policies.get('shop/limits' as PolicyKey)).toEqual(policy);
    // The next push of the type goes out only after the refusal arrived.
    publish(server.store, makeDelta({ policies: [makePolicy('next')] }));
    server.store.flush();
    await client.until(() => client.policies.size === 3);
    expect(server.xds.counters.nacks).toBe(1);
    const [stream] = server.xds.streams();
    expect(stream).toMatchObject({ caller: 'node-a', nodeId: 'ztunnel~127.0.0.1~z.ns~ns.svc.cluster.local' });
    expect(stream?.types[authorizationType]?.lastNack).toMatch(
      /^shop\/limits: Bytes are no istio.security.Authorization: /,
    );
  });

  test('hears of a replaced policy, of the workload that names it, then of the end of the old one', async () => {
    const server = await controller();
    const [before, after] = [
      makePolicy('before', { scope: 'workload' }),
      makePolicy('after', { scope: 'workload' }),
    ];
    const api = makeWorkload('api', { authorizationPolicies: [before.key] });
    publish(server.store, makeDelta({ workloads: [api], policies: [before] }));
    const client = node(server);
    await client.until(() => client.synced > 0);
    const told = client.deltas.length;
    publish(
      server.store,
      makeDelta({
        workloads: [{ ...api, authorizationPolicies: [after.key] }],
        policies: [after],
        removed: { policies: [before.key] },
      }),
    );
    server.store.flush();
    await client.until(() => client.policies.size === 1 && client.policies.has(after.key));
    expect(client.deltas.slice(told)).toEqual([
      makeDelta({ policies: [after] }),
      makeDelta({ workloads: [{ ...api, authorizationPolicies: [after.key] }] }),
      makeDelta({ removed: { policies: [before.key] } }),
    ]);
  });

  test('takes 10,000 workloads, and none of them again after a reconnect', async () => {
    const server = await controller();
    const workloads = Array.from({ length: 10_000 }, (_, i) =>
      makeWorkload(`w${i}`, { addresses: [`10.${i >> 16}.${(i >> 8) & 255}.${i & 255}` as IpAddress] }),
    );
    publish(server.store, makeDelta({ workloads }));
    const client = node(server);
    await client.until(() => client.synced > 0);
    expect(client.workloads.size).toBe(10_000);
    const [sent, told] = [server.xds.counters.resources, client.deltas.length];
    await server.stop();
    await client.until(() => client.state === 'disconnected');
    const again = await controller({ root: server.root, store: server.store, port: server.port });
    client.retry();
    await client.until(() => client.state === 'connected');
    publish(server.store, makeDelta({ workloads: [makeWorkload('last')] }));
    server.store.flush();
    await client.until(() => client.workloads.size === 10_001);
    expect([sent, again.xds.counters.resources]).toEqual([10_000, 1]);
    expect(client.deltas.length).toBe(told + 1);
  });
});

test('publishing a whole model again tells only what is different', async () => {
  const server = await controller();
  const model = {
    workloads: new Map([makeWorkload('a'), makeWorkload('b')].map((workload) => [workload.uid, workload])),
    services: new Map([[makeService('s').key, makeService('s')]]),
    policies: new Map([[makePolicy('p').key, makePolicy('p')]]),
    pods: new Map([[makePod('a', 'node-a').uid, makePod('a', 'node-a')]]),
    waypoints: new Map(),
    routings: new Map(),
    requestAuthentications: new Map(),
    meshConfig: defaultMeshConfig,
    enrolledNamespaces: ['shop'],
  };
  publishModel(server.store, model);
  const client = node(server);
  await client.until(() => client.synced > 0);
  expect(client.workloads).toEqual(model.workloads);
  expect(client.pods).toEqual(model.pods);
  expect(client.enrolledNamespaces).toEqual(['shop']);
  const told = client.deltas.length;
  publishModel(server.store, { ...model, workloads: new Map([[makeWorkload('a').uid, makeWorkload('a')]]) });
  server.store.flush();
  await client.until(() => client.workloads.size === 1);
  expect(client.deltas.slice(told)).toEqual([makeDelta({ removed: { workloads: [makeWorkload('b').uid] } })]);
});

test('a stream that grew old is ended, and the node comes back with its token', async () => {
  const server = await controller({ maxConnectionAgeMs: 1_000 });
  const client = node(server);
  await client.until(() => client.synced > 0);
  await client.until(() => client.state === 'disconnected');
  client.retry();
  await client.until(() => client.state === 'connected');
  expect(client.synced).toBe(1);
});

test('servers and clients leave no open file behind', async () => {
  const openFiles = () => readdirSync('/proc/self/fd').length;
  const before = openFiles();
  const server = await startController();
  const clients = [new TestNode(server), new TestNode(server, { token: () => 'node-b' })];
  for (const { client } of clients) client.start();
  await Promise.all(clients.map((client) => client.until(() => client.synced > 0)));
  expect(openFiles()).toBeGreaterThan(before);
  for (const { client } of clients) client.close();
  await server.stop();
  for (let turn = 0; turn < 10_000 && openFiles() > before; turn++) await setImmediate();
  expect(openFiles()).toBeLessThanOrEqual(before);
});

describe('a controller that goes away', () => {
  test('takes nothing with it, and its successor sends only what is different', async () => {
    const server = await controller();
    const [same, changed, gone] = [makeWorkload('same'), makeWorkload('changed'), makeWorkload('gone')];
    publish(server.store, makeDelta({ workloads: [same, changed, gone], policies: [makePolicy('p')] }));
    const client = node(server);
    await client.until(() => client.synced > 0);
    const told = client.deltas.length;
    await server.stop();
    await client.until(() => client.state === 'disconnected');
    expect([client.workloads.size, client.deltas.length]).toEqual([3, told]);
    const next = await controller({ root: server.root, port: server.port });
    const now = { ...changed, health: 'unhealthy' as const };
    publish(next.store, makeDelta({ workloads: [same, now], policies: [makePolicy('p')] }));
    client.retry();
    await client.until(() => !client.workloads.has(gone.uid));
    expect(client.deltas.slice(told)).toEqual([
      makeDelta({ workloads: [now], removed: { workloads: [gone.uid] } }),
    ]);
    expect(next.xds.counters.resources).toBe(1);
    expect(client.synced).toBe(1);
  });

  test('sends again after a reconnect what was refused before', async () => {
    const server = await controller();
    const good = encodeAuthorization(makePolicy('p'));
    server.store.apply(authorizationType, { upserted: [good] });
    const client = node(server);
    await client.until(() => client.synced > 0);
    const any = create(AnySchema, { typeUrl: authorizationType, value: Uint8Array.of(255) });
    server.store.apply(authorizationType, { upserted: [{ ...good, any, version: 'bad' }] });
    publish(server.store, makeDelta({ policies: [makePolicy('sign')] }));
    server.store.flush();
    await client.until(() => client.policies.size === 2);
    await server.stop();
    await client.until(() => client.state === 'disconnected');
    const next = await controller({ root: server.root, port: server.port });
    const fixed = makePolicy('p', { action: 'allow' });
    publish(next.store, makeDelta({ policies: [fixed, makePolicy('sign')] }));
    client.retry();
    await client.until(() => client.policies.get(fixed.key)?.action === 'allow');
    expect(next.xds.counters.resources).toBe(1);
  });
});

describe('an on-demand client', () => {
  test('knows nothing but policies until it asks', async () => {
    const server = await controller();
    publish(server.store, makeDelta({ workloads: [makeWorkload('api')], policies: [makePolicy('p')] }));
    const client = node(server, { mode: 'on-demand' });
    await client.until(() => client.synced > 0);
    expect([client.workloads.size, client.policies.size]).toEqual([0, 1]);
  });

  test('gets a workload by address, knows it when the answer comes, and follows it', async () => {
    const server = await controller();
    const api = makeWorkload('api', { addresses: ['10.0.0.1' as IpAddress] });
    publish(server.store, makeDelta({ workloads: [api, makeWorkload('other')] }));
    const client = node(server, { mode: 'on-demand' });
    expect(await client.client.demand('/10.0.0.1')).toBe('found');
    expect([...client.workloads.keys()]).toEqual([api.uid]);
    publish(server.store, makeDelta({ workloads: [{ ...api, health: 'unhealthy' }] }));
    server.store.flush();
    await client.until(() => client.workloads.get(api.uid)?.health === 'unhealthy');
    publish(server.store, makeDelta({ removed: { workloads: [api.uid] } }));
    server.store.flush();
    await client.until(() => client.workloads.size === 0);
  });

  test('gets the endpoints of a service with it, also those that come later', async () => {
    const server = await controller();
    const db = makeService('db');
    const services = new Map([[db.key, []]]);
    publish(
      server.store,
      makeDelta({ services: [db], workloads: [makeWorkload('db-0', { services }), makeWorkload('x')] }),
    );
    const client = node(server, { mode: 'on-demand' });
    expect(await client.client.demand('/10.96.0.1')).toBe('found');
    expect([...client.workloads.values()].map(({ name }) => name)).toEqual(['db-0']);
    expect(client.services.has(db.key)).toBe(true);
    publish(server.store, makeDelta({ workloads: [makeWorkload('db-1', { services })] }));
    server.store.flush();
    await client.until(() => client.workloads.size === 2);
  });

  test('is told that a name does not exist, and of it when it does', async () => {
    const server = await controller();
    const client = node(server, { mode: 'on-demand' });
    expect(await client.client.demand('/10.0.0.9')).toBe('absent');
    publish(
      server.store,
      makeDelta({ workloads: [makeWorkload('new', { addresses: ['10.0.0.9' as IpAddress] })] }),
    );
    server.store.flush();
    await client.until(() => client.workloads.size === 1);
    expect(await client.client.demand('/10.0.0.9')).toBe('found');
  });

  test('drops the workload that lost an address to another', async () => {
    const server = await controller();
    const addresses = ['10.0.0.1' as IpAddress];
    publish(server.store, makeDelta({ workloads: [makeWorkload('old', { addresses })] }));
    const client = node(server, { mode: 'on-demand' });
    await client.client.demand('/10.0.0.1');
    publish(
      server.store,
      makeDelta({
        workloads: [makeWorkload('new', { addresses })],
        removed: { workloads: [makeWorkload('old').uid] },
      }),
    );
    server.store.flush();
    await client.until(() => client.workloads.has(makeWorkload('new').uid));
    expect([...client.workloads.values()].map(({ name }) => name)).toEqual(['new']);
  });

  test('keeps what it asked for over a reconnect, and a question asked meanwhile is answered', async () => {
    const server = await controller();
    const api = makeWorkload('api', { addresses: ['10.0.0.1' as IpAddress] });
    publish(server.store, makeDelta({ workloads: [api] }));
    const client = node(server, { mode: 'on-demand' });
    await client.client.demand('/10.0.0.1');
    await server.stop();
    await client.until(() => client.state === 'disconnected');
    const meanwhile = client.client.demand('/10.0.0.2');
    const next = await controller({ root: server.root, port: server.port });
    const two = makeWorkload('two', { addresses: ['10.0.0.2' as IpAddress] });
    publish(next.store, makeDelta({ workloads: [api, two] }));
    client.retry();
    expect(await meanwhile).toBe('found');
    expect(next.xds.counters.resources).toBe(2); // '/10.0.0.2' and its uid, nothing of api
    publish(next.store, makeDelta({ removed: { workloads: [api.uid] } }));
    next.store.flush();
    await client.until(() => !client.workloads.has(api.uid));
  });

  test('gives up one wait by its signal and all waits at close', async () => {
    const server = await controller();
    const client = new TestNode(server, { mode: 'on-demand' });
    const abort = new AbortController();
    const one = client.client.demand('a', { signal: abort.signal });
    const two = client.client.demand('b');
    abort.abort(new Error('enough'));
    await expect(one).rejects.toThrow('enough');
    client.client.close();
    await expect(two).rejects.toMatchObject({ code: 'CLOSED' });
    await expect(client.client.demand('c')).rejects.toMatchObject({ code: 'CLOSED' });
  });
});

test('demand() of a wildcard client is refused', async () => {
  const client = new TestNode(await controller());
  await expect(client.client.demand('x')).rejects.toMatchObject({ code: 'DEMAND_UNSUPPORTED' });
});

test('two nodes with different tokens get the same mesh and their own pods', async () => {
  const server = await controller();
  publish(
    server.store,
    makeDelta({ workloads: [makeWorkload('w')], pods: [makePod('a', 'node-a'), makePod('b', 'node-b')] }),
  );
  const [a, b] = [node(server), node(server, { token: () => 'node-b' })];
  await Promise.all([a.until(() => a.synced > 0), b.until(() => b.synced > 0)]);
  expect([a, b].map(({ workloads, pods }) => [workloads.size, [...pods.keys()]])).toEqual([
    [1, ['c//Pod/shop/a' as WorkloadUid]],
    [1, ['c//Pod/shop/b' as WorkloadUid]],
  ]);
  expect(server.xds.streams().map(({ caller }) => caller)).toEqual(['node-a', 'node-b']);
});

test('an Address that is another type is refused', async () => {
  const server = await controller();
  server.store.apply(addressType, { upserted: [encodeAuthorization(makePolicy('p'))] });
  const client = node(server);
  await client.until(() => client.synced > 0);
  expect(client.deltas).toEqual([]);
});
