// Random histories against simple models of what the store must be: a fresh build, and scans over everything.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { diffModel } from '../model/diff.ts';
import { ip, makePolicy, makeService, makeWorkload } from '../model/fixture.ts';
import { cidrContains, type IpAddress, ipBits } from '../model/ip-address.ts';
import { policyKey, serviceKey } from '../model/key.ts';
import { emptyDelta, emptyModel, type Model, type ModelDelta } from '../model/model.ts';
import type { NodePod } from '../model/node-pod.ts';
import type { Service } from '../model/service.ts';
import type { PolicyKey, Workload, WorkloadUid } from '../model/workload.ts';
import type { Snapshot } from './snapshot.ts';
import { Store } from './store.ts';

function storeWith(delta: Partial<ModelDelta>): Store {
  const store = new Store();
  store.apply({ ...emptyDelta, ...delta });
  return store;
}

const texts = ['10.0.0.1', '10.0.0.2', '10.1.0.1', '2001:db8::1', '2001:db8::2'];
const namespaces = ['a', 'b'];
const keys = namespaces.flatMap((namespace) => ['x', 'y'].map((hostname) => serviceKey(namespace, hostname)));
const policyKeys = namespaces.flatMap((namespace) => ['p', 'q'].map((name) => policyKey(namespace, name)));
const uids = ['k//Pod/a/1', 'k//Pod/a/2', 'w1', 'w2', 'w3'];

const anyNamespace = fc.constantFrom(...namespaces);
const anyAddress = fc.constantFrom(...texts.map(ip));
const anyWorkload = fc
  .record({
    uid: fc.constantFrom(...(uids as WorkloadUid[])),
    name: fc.constantFrom('m', 'n'),
    namespace: anyNamespace,
    network: fc.constantFrom('', 'east'),
    addresses: fc.array(anyAddress, { maxLength: 3 }),
    tunnelProtocol: fc.constantFrom('none' as const, 'hbone' as const),
    networkMode: fc.constantFrom('standard' as const, 'standard' as const, 'host-network' as const),
    services: fc.subarray(keys).map((list) => new Map(list.map((key) => [key, []]))),
    authorizationPolicies: fc.subarray(policyKeys),
  })
  .map((fields) => makeWorkload(fields.uid, fields));
const anyVip = fc.record({
  network: fc.constantFrom('', 'east'),
  address: anyAddress,
  length: fc.constantFrom(0, 8, 9, 31, 32, 64, 128),
});
const anyService = fc
  .record({
    namespace: anyNamespace,
    hostname: fc.constantFrom('x', 'y'),
    addresses: fc.array(anyVip, { maxLength: 3 }),
    canonical: fc.boolean(),
    visibility: fc.constantFrom('public' as const, 'namespace' as const),
  })
  .map((fields) => makeService(fields.namespace, fields.hostname, fields));
const anyPolicy = fc
  .record({
    namespace: anyNamespace,
    name: fc.constantFrom('p', 'q'),
    scope: fc.constantFrom('global' as const, 'namespace' as const, 'workload' as const),
    action: fc.constantFrom('allow' as const, 'deny' as const),
  })
  .map((fields) => makePolicy(fields.namespace, fields.name, fields));
const anyPod = fc
  .record({ uid: fc.constantFrom(...(uids as WorkloadUid[])), node: fc.constantFrom('1', '2') })
  .map((fields) => fields as NodePod);
const anyDelta: fc.Arbitrary<ModelDelta> = fc.record({
  waypoints: fc.constant([]),
  routings: fc.constant([]),
  requestAuthentications: fc.constant([]),
  workloads: fc.array(anyWorkload, { maxLength: 6 }),
  services: fc.array(anyService, { maxLength: 3 }),
  policies: fc.array(anyPolicy, { maxLength: 3 }),
  pods: fc.array(anyPod, { maxLength: 3 }),
  removed: fc.record({
    waypoints: fc.constant([]),
    routings: fc.constant([]),
    requestAuthentications: fc.constant([]),
    workloads: fc.subarray(uids as WorkloadUid[]),
    services: fc.subarray(keys),
    policies: fc.subarray(policyKeys),
    pods: fc.subarray(uids as WorkloadUid[]),
  }),
});

/** Everything a reader can see, each lookup over the whole small universe. */
function observe(snapshot: Snapshot): unknown {
  const workloads = [...snapshot.workloads.values()].sort((a, b) => (a.uid < b.uid ? -1 : 1));
  return {
    model: snapshot.toModel(),
    sizes: [snapshot.workloads.size, snapshot.services.size, snapshot.policies.size, snapshot.pods.size],
    pods: uids.map((uid) => snapshot.podByUid(uid as WorkloadUid)),
    named: workloads.map((w) => snapshot.workloadByName(w.namespace, w.name, w.serviceAccount)),
    policiesFor: workloads.map((workload) => snapshot.policiesFor(workload)),
    global: snapshot.globalPolicies(),
    byNamespace: namespaces.map((namespace) => snapshot.namespacePolicies(namespace)),
    endpoints: keys.map((key) => snapshot.endpointsOf(key)),
    hostnames: ['x', 'y'].map((hostname) => snapshot.servicesByHostname(hostname)),
    addresses: ['', 'east'].flatMap((network) =>
      texts.map((text) => [
        snapshot.workloadsByAddress(network, ip(text)),
        snapshot.servicesByAddress(network, ip(text)),
        namespaces.map((namespace) => snapshot.serviceForAddress(network, ip(text), namespace)),
      ]),
    ),
  };
}

function applyToModel(model: Model, delta: ModelDelta): Model {
  const change = <K, V>(
    map: ReadonlyMap<K, V>,
    removed: readonly K[],
    stored: readonly V[],
    keyOf: (v: V) => K,
  ) => {
    const kept = [...map].filter(([key]) => !removed.includes(key));
    return new Map([...kept, ...stored.map((value) => [keyOf(value), value] as const)]);
  };
  return {
    ...model,
    workloads: change(model.workloads, delta.removed.workloads, delta.workloads, (w) => w.uid),
    services: change(model.services, delta.removed.services, delta.services, (s) => s.key),
    policies: change(model.policies, delta.removed.policies, delta.policies, (p) => p.key),
    pods: change(model.pods, delta.removed.pods, delta.pods, (p) => p.uid),
  };
}

describe('Store under any history', () => {
  it('equals a fresh build of the final model, and earlier snapshots never change', () => {
    fc.assert(
      fc.property(fc.array(anyDelta, { minLength: 1, maxLength: 6 }), (deltas) => {
        const store = new Store();
        let model = emptyModel;
        const history: [Snapshot, unknown][] = [];
        for (const delta of deltas) {
          store.apply(delta);
          model = applyToModel(model, delta);
          history.push([store.snapshot(), observe(store.snapshot())]);
        }
        const fresh = storeWith(diffModel(emptyModel, model)).snapshot();
        expect(observe(store.snapshot())).toEqual(observe(fresh));
        expect(store.snapshot().toModel()).toEqual(model);
        for (const [snapshot, seen] of history) expect(observe(snapshot)).toEqual(seen);
      }),
      { numRuns: 300 },
    );
  });

  it('does not depend on the order in which the objects of a model arrive', () => {
    fc.assert(
      fc.property(anyDelta, fc.infiniteStream(fc.nat()), (delta, random) => {
        const model = applyToModel(emptyModel, delta);
        const pieces: Partial<ModelDelta>[] = [
          ...[...model.workloads.values()].map((workload) => ({ workloads: [workload] })),
          ...[...model.services.values()].map((service) => ({ services: [service] })),
          ...[...model.policies.values()].map((policy) => ({ policies: [policy] })),
          ...[...model.pods.values()].map((pod) => ({ pods: [pod] })),
        ];
        const store = new Store();
        while (pieces.length > 0) {
          const [piece] = pieces.splice(random.next().value % pieces.length, 1);
          store.apply({ ...emptyDelta, ...piece });
        }
        expect(observe(store.snapshot())).toEqual(
          observe(storeWith(diffModel(emptyModel, model)).snapshot()),
        );
      }),
    );
  });

  it('looks addresses up as a scan over all workloads and services would', () => {
    fc.assert(
      fc.property(anyDelta, anyAddress, fc.constantFrom('', 'east'), (delta, address, network) => {
        const model = applyToModel(emptyModel, delta);
        const snapshot = storeWith(diffModel(emptyModel, model)).snapshot();
        const workloads = [...model.workloads.values()].filter((w) => {
          return w.network === network && w.networkMode === 'standard' && w.addresses.includes(address);
        });
        expect(new Set(snapshot.workloadsByAddress(network, address))).toEqual(new Set(workloads));
        const services = [...model.services.values()];
        const claims = (service: Service) => longestClaim(service, network, address);
        expect(new Set(snapshot.servicesByAddress(network, address))).toEqual(
          new Set(services.filter((service) => claims(service) >= 0)),
        );
        for (const namespace of namespaces) {
          const expected = services
            .filter((s) => claims(s) >= 0 && (s.visibility === 'public' || s.namespace === namespace))
            .sort((a, b) => compareAll(rank(b, namespace, claims(b)), rank(a, namespace, claims(a))))[0];
          expect(snapshot.serviceForAddress(network, address, namespace)).toBe(expected);
        }
        const candidates = workloads.map((workload) => [workload, candidateKeys(model, workload)] as const);
        for (const [workload, expected] of candidates) {
          expect(new Set(snapshot.policiesFor(workload).map((policy) => policy.key))).toEqual(expected);
        }
      }),
      { numRuns: 300 },
    );
  });
});

function candidateKeys(model: Model, workload: Workload): Set<PolicyKey> {
  const policies = [...model.policies.values()].filter((policy) => {
    if (workload.authorizationPolicies.includes(policy.key) || policy.scope === 'global') return true;
    return policy.scope === 'namespace' && policy.namespace === workload.namespace;
  });
  return new Set(policies.map((policy) => policy.key));
}

/** Length of the longest prefix of the service that holds the address; 128 for the address itself, -1 for none. */
function longestClaim(service: Service, network: string, address: IpAddress): number {
  const lengths = service.addresses
    .filter((a) => a.network === network && a.length <= ipBits(a.address) && cidrContains(a, address))
    .map((a) => (a.length === ipBits(address) ? 128 : a.length));
  return Math.max(-1, ...lengths);
}

/** Higher comes first: a single address, own namespace, longest prefix, canonical, then the first key. */
function rank(service: Service, namespace: string, length: number): number[] {
  const single = length === 128 ? 1 : 0;
  const own = service.namespace === namespace ? 1 : 0;
  return [single, own, length, service.canonical ? 1 : 0, -keys.indexOf(service.key)];
}

function compareAll(a: readonly number[], b: readonly number[]): number {
  return a.map((value, i) => value - (b[i] as number)).find((difference) => difference !== 0) ?? 0;
}
