import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import type { Any } from '@bufbuild/protobuf/wkt';
import { toL4 } from '../mesh/authz/l4-projection.ts';
import type { AuthorizationPolicy } from '../mesh/model/authorization.ts';
import { modelEqual } from '../mesh/model/diff.ts';
import { makeWorkload } from '../mesh/model/fixture.ts';
import { emptyDelta, emptyModel, type Model } from '../mesh/model/model.ts';
import type { PolicyKey } from '../mesh/model/workload.ts';
import { ManualClock } from '../mesh/runtime/clock.ts';
import { decodeAddress } from '../mesh/xds/address-codec.ts';
import { decodeAuthorization } from '../mesh/xds/authorization-codec.ts';
import { ResourceStore } from '../mesh/xds/resource-store.ts';
import { decodeHttpAuthorization } from '../mesh/xds/http-authorization-codec.ts';
import { decodeRequestAuthentication } from '../mesh/xds/request-authentication-codec.ts';
import type { Decoded } from '../mesh/xds/resource.ts';
import { decodeServiceRouting } from '../mesh/xds/routing-codec.ts';
import {
  addressType,
  authorizationType,
  httpAuthorizationType,
  enrolledNamespacesType,
  meshConfigType,
  nodePodType,
  requestAuthenticationType,
  serviceRoutingType,
  waypointType,
} from '../mesh/xds/type-urls.ts';
import { decodeWaypoint } from '../mesh/xds/waypoint-codec.ts';
import { decodeEnrolledNamespaces, decodeMeshConfig, decodeNodePod } from '../mesh/xds/weft-codec.ts';
import { ModelPublisher } from './publish.ts';
import { buildResources } from './resources/resources.ts';
import { parseManifest } from './source/parse-manifest.ts';
import { translate } from './translate/translate.ts';

const testdata = fileURLToPath(new URL('./translate/testdata/', import.meta.url));
const inputs = readdirSync(testdata).filter((file) => file.endsWith('.in.yaml'));

function load(file: string): Model {
  const { objects } = parseManifest(readFileSync(testdata + file, 'utf8'), file);
  const resources = buildResources(objects.map(({ typed }) => typed));
  return translate(resources, { clusterId: 'Kubernetes', standalone: true }).model;
}

function withWorkload(...uids: string[]): Model {
  const workloads = uids.map((uid) => makeWorkload(uid)).map((workload) => [workload.uid, workload] as const);
  return { ...emptyModel, workloads: new Map(workloads) };
}

describe('ModelPublisher', () => {
  it.each(inputs)(
    'puts on the wire what translate() made of %s, and nodes and waypoints read it back unchanged',
    (file) => {
      const store = new ResourceStore({ clock: new ManualClock() });
      const model = load(file);
      new ModelPublisher({ store }).publish(model);
      expectOnWire(store, model);
      for (const { any, owner } of store.entries(nodePodType)) {
        const pod = decodeNodePod(any);
        expect(pod.ok && pod.value.node).toBe(owner);
      }
    },
  );

  it('leads from any model to any other', () => {
    const store = new ResourceStore({ clock: new ManualClock() });
    const publisher = new ModelPublisher({ store });
    for (const file of [...inputs, ...inputs.toReversed()]) {
      const model = load(file);
      publisher.publish(model);
      expectOnWire(store, model);
    }
  });

  it('sends the settings of the mesh even if they are the built-in ones, once', () => {
    const store = new ResourceStore({ clock: new ManualClock() });
    const publisher = new ModelPublisher({ store });
    publisher.publish(emptyModel);
    expect([...store.entries(meshConfigType)].length).toBe(1);
    expect(publisher.publish(emptyModel)).toEqual(emptyDelta);
  });

  it('changes only what differs', () => {
    const store = new ResourceStore({ clock: new ManualClock() });
    const publisher = new ModelPublisher({ store });
    publisher.publish(withWorkload('a', 'b'));
    const generation = store.generation;
    publisher.publish(withWorkload('a', 'b'));
    expect(store.generation).toBe(generation);
    const delta = publisher.publish(withWorkload('b', 'c'));
    expect(delta.workloads.map(({ uid }) => uid)).toEqual(['c']);
    expect(delta.removed.workloads).toEqual(['a']);
    expect(store.generation).toBe(generation + 2);
  });
});

/** Waypoints read everything, nodes what concerns connections: the L4 projections of policies. */
function expectOnWire(store: ResourceStore, model: Model): void {
  expect(modelEqual(readBack(store), { ...model, services: l4Services(model) })).toBe(true);
  const projections = [...model.policies.values()].map(toL4).filter((policy) => policy !== undefined);
  const sent = [...store.entries(authorizationType)].map(({ any, name }) =>
    good(decodeAuthorization(any, name)),
  );
  expect(modelEqual(byKey(sent, policyKeyOf), byKey(projections, policyKeyOf))).toBe(true);
}

/** What a service's own resource has of its traffic policy; the L7 part travels with the routing. */
function l4Services({ services }: Model): Model['services'] {
  return new Map(
    [...services].map(([key, service]) => {
      const { http: _http, ...l4 } = service.trafficPolicy ?? { key: '' };
      return [
        key,
        service.trafficPolicy === undefined ? service : { ...service, trafficPolicy: l4 },
      ] as const;
    }),
  );
}

function readBack(store: ResourceStore): Model {
  const all = <T>(type: string, decode: (any: Any) => Decoded<T>): T[] =>
    [...store.entries(type)].map(({ any }) => good(decode(any)));
  const addresses = all(addressType, decodeAddress);
  const [meshConfig] = all(meshConfigType, decodeMeshConfig);
  if (meshConfig === undefined) throw new Error('No MeshConfig was published');
  return {
    workloads: byKey(
      addresses.flatMap((address) => (address.kind === 'workload' ? [address.workload] : [])),
      ({ uid }) => uid,
    ),
    services: byKey(
      addresses.flatMap((address) => (address.kind === 'service' ? [address.service] : [])),
      ({ key }) => key,
    ),
    policies: byKey(all(httpAuthorizationType, decodeHttpAuthorization), policyKeyOf),
    pods: byKey(all(nodePodType, decodeNodePod), ({ uid }) => uid),
    waypoints: byKey(all(waypointType, decodeWaypoint), ({ gateway }) => gateway),
    routings: byKey(all(serviceRoutingType, decodeServiceRouting), ({ key }) => key),
    requestAuthentications: byKey(
      all(requestAuthenticationType, decodeRequestAuthentication),
      ({ key }) => key,
    ),
    meshConfig,
    enrolledNamespaces: all(enrolledNamespacesType, decodeEnrolledNamespaces).flat(),
  };
}

function policyKeyOf({ key }: AuthorizationPolicy): PolicyKey {
  return key;
}

function byKey<K extends string, V>(values: readonly V[], keyOf: (value: V) => K): ReadonlyMap<K, V> {
  return new Map(values.map((value) => [keyOf(value), value]));
}

function good<T>(decoded: { ok: true; value: T } | { ok: false; reason: string }): T {
  if (!decoded.ok) throw new Error(decoded.reason);
  return decoded.value;
}
