// What a waypoint hears over real TLS and gRPC: its own settings and routes, whole policies, and nobody else's.

import { afterEach, describe, expect, test } from 'vitest';
import { documentDecoders } from './document-decoders.ts';
import { emptyDelta } from '../model/model.ts';
import type { RequestAuthenticationKey } from '../model/request-authentication.ts';
import type { GatewayKey, RoutingKey, ServiceRouting, WaypointConfig } from '../model/routing.ts';
import type { ServiceKey } from '../model/service.ts';
import { waypointOwner } from './caller.ts';
import { publish } from './publish.ts';
import { encodeServiceRouting } from './routing-codec.ts';
import {
  makePolicy,
  makeWorkload,
  startController,
  type TestController,
  TestNode,
} from './testing/test-mesh.ts';
import { serviceRoutingType } from './type-urls.ts';

const cleanups: (() => void | Promise<void>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function controller(): Promise<TestController> {
  const started = await startController({
    authenticate: ({ token = '' }) => ({ name: token, node: waypointOwner(token as GatewayKey) }),
  });
  cleanups.push(() => started.stop());
  return started;
}

function waypoint(target: TestController, gateway: string): TestNode {
  const made = new TestNode(target, { role: 'waypoint', documents: documentDecoders, token: () => gateway });
  cleanups.push(() => made.client.close());
  made.client.start();
  return made;
}

const config = (gateway: string): WaypointConfig => ({
  gateway: gateway as GatewayKey,
  servesFor: 'service',
  serviceAccount: 'wp',
  addresses: [],
  forwardClientCert: false,
});
const routing = (gateway: string, port = 80): ServiceRouting => ({
  key: `${gateway}|shop/api` as RoutingKey,
  gateway: gateway as GatewayKey,
  service: 'shop/api' as ServiceKey,
  ports: [{ port, routes: { http: [], tcp: undefined, tls: [] }, consumers: [] }],
});
const authentication = {
  key: 'shop/jwt' as RequestAuthenticationKey,
  namespace: 'shop',
  targets: [{ kind: 'namespace' as const, namespace: 'shop' }],
  rules: [],
};
const attached = {
  ...makePolicy('attached'),
  scope: 'target' as const,
  targets: [{ kind: 'gateway' as const, gateway: 'shop/a' as GatewayKey }],
};

describe('a waypoint', () => {
  test('is synced with its own settings and routes, whole policies and the addresses of everybody', async () => {
    const server = await controller();
    publish(server.store, {
      ...emptyDelta,
      waypoints: [config('shop/a'), config('shop/b')],
      routings: [routing('shop/a'), routing('shop/b')],
      policies: [attached],
      requestAuthentications: [authentication],
      workloads: [makeWorkload('api')],
    });
    const client = waypoint(server, 'shop/a');
    await client.until(() => client.synced > 0);
    const told = <K extends 'waypoints' | 'routings' | 'policies' | 'requestAuthentications' | 'workloads'>(
      kind: K,
    ) => client.deltas.flatMap((delta) => [...delta[kind]]);
    expect(told('waypoints')).toEqual([config('shop/a')]);
    expect(told('routings')).toEqual([routing('shop/a')]);
    expect(told('policies')).toEqual([attached]);
    expect(told('requestAuthentications')).toEqual([authentication]);
    expect(told('workloads')).toHaveLength(1);
  });

  test('hears of its own routes coming and going, and nothing of others', async () => {
    const server = await controller();
    const client = waypoint(server, 'shop/a');
    await client.until(() => client.synced > 0);
    publish(server.store, { ...emptyDelta, routings: [routing('shop/b')] });
    publish(server.store, { ...emptyDelta, routings: [routing('shop/a', 81)] });
    server.store.flush();
    await client.until(() => client.deltas.some(({ routings }) => routings.length > 0));
    const removed = { ...emptyDelta.removed, routings: [routing('shop/a').key, routing('shop/b').key] };
    publish(server.store, { ...emptyDelta, removed });
    server.store.flush();
    await client.until(() => client.deltas.some((delta) => delta.removed.routings.length > 0));
    expect(client.deltas.flatMap(({ routings }) => routings)).toEqual([routing('shop/a', 81)]);
    expect(client.deltas.flatMap((delta) => delta.removed.routings)).toEqual([routing('shop/a').key]);
  });

  test('refuses a document it does not know, keeps the last good one and takes the rest', async () => {
    const server = await controller();
    publish(server.store, { ...emptyDelta, routings: [routing('shop/a')] });
    const client = waypoint(server, 'shop/a');
    await client.until(() => client.synced > 0);
    const owner = waypointOwner('shop/a' as GatewayKey);
    const bad = encodeServiceRouting({ ...routing('shop/a'), later: true } as ServiceRouting);
    const other = { ...routing('shop/a', 82), key: 'shop/a|shop/other' as RoutingKey };
    server.store.apply(serviceRoutingType, {
      upserted: [
        { ...bad, owner },
        { ...encodeServiceRouting(other), owner },
      ],
    });
    server.store.flush();
    await client.until(() =>
      client.deltas.some(({ routings }) => routings.some(({ key }) => key === other.key)),
    );
    expect(client.deltas.flatMap((delta) => delta.removed.routings)).toEqual([]);
    await expect.poll(() => server.xds.counters.nacks).toBe(1);
  });
});
