import { describe, expect, test } from 'vitest';
import { emptyDelta, emptyModel, type ModelDelta } from '../model/model.ts';
import { makePolicy } from '../model/fixture.ts';
import type { GatewayKey, RoutingKey, ServiceRouting, WaypointConfig } from '../model/routing.ts';
import type { ServiceKey } from '../model/service.ts';
import { ManualClock } from '../runtime/clock.ts';
import { publish, publishModel } from './publish.ts';
import { ResourceStore } from './resource-store.ts';
import { authorizationType, httpAuthorizationType, serviceRoutingType, waypointType } from './type-urls.ts';

const gateway = 'shop/wp' as GatewayKey;
const waypoint: WaypointConfig = {
  gateway,
  servesFor: 'service',
  serviceAccount: 'wp',
  addresses: [],
  forwardClientCert: false,
};
const routing: ServiceRouting = {
  key: 'shop/wp|shop/api.shop.svc.cluster.local' as RoutingKey,
  gateway,
  service: 'shop/api.shop.svc.cluster.local' as ServiceKey,
  ports: [],
};
const attached = makePolicy('shop', 'attached', {
  scope: 'target',
  targets: [{ kind: 'gateway', gateway }],
});
const delta: ModelDelta = { ...emptyDelta, policies: [attached], waypoints: [waypoint], routings: [routing] };

function names(store: ResourceStore, type: string): string[] {
  return [...store.entries(type)].map(({ name, owner }) =>
    owner === undefined ? name : `${name} of ${owner}`,
  );
}

describe('publish()', () => {
  test('gives settings and routes to their waypoint alone, and whole policies to everybody', () => {
    const store = new ResourceStore({ clock: new ManualClock() });
    publish(store, delta);
    expect(names(store, waypointType)).toEqual(['shop/wp of waypoint/shop/wp']);
    expect(names(store, serviceRoutingType)).toEqual([`${routing.key} of waypoint/shop/wp`]);
    expect(names(store, httpAuthorizationType)).toEqual(['shop/attached']);
  });

  test('takes a policy back from node tunnels that became one of waypoints only', () => {
    const store = new ResourceStore({ clock: new ManualClock() });
    publish(store, { ...emptyDelta, policies: [makePolicy('shop', 'attached')] });
    expect(names(store, authorizationType)).toEqual(['shop/attached']);
    publish(store, delta);
    expect(names(store, authorizationType)).toEqual([]);
    publish(store, { ...emptyDelta, removed: { ...emptyDelta.removed, policies: [attached.key] } });
    expect(names(store, httpAuthorizationType)).toEqual([]);
  });

  test('publishModel() stores the same, and removes what the model does not hold', () => {
    const store = new ResourceStore({ clock: new ManualClock() });
    publish(store, delta);
    const other = { ...waypoint, gateway: 'bank/wp' as GatewayKey };
    publishModel(store, { ...emptyModel, waypoints: new Map([[other.gateway, other]]) });
    expect(names(store, waypointType)).toEqual(['bank/wp of waypoint/bank/wp']);
    expect(names(store, serviceRoutingType)).toEqual([]);
    expect(names(store, httpAuthorizationType)).toEqual([]);
  });
});
