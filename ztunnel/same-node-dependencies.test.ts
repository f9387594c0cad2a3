import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Authorizer } from '../mesh/authz/authorizer.ts';
import { makeNodePod, makePolicy, makeService, makeWorkload, vip } from '../mesh/model/fixture.ts';
import type { IpAddress } from '../mesh/model/ip-address.ts';
import { defaultMeshConfig } from '../mesh/model/mesh-config.ts';
import { emptyDelta, isEmptyDelta, type ModelDelta } from '../mesh/model/model.ts';
import type { ServiceKey } from '../mesh/model/service.ts';
import type { Workload, WorkloadUid } from '../mesh/model/workload.ts';
import type { Snapshot } from '../mesh/state/snapshot.ts';
import { Store } from '../mesh/state/store.ts';
import { VerdictDependencies } from './same-node-dependencies.ts';
import { decideDirect, type LocalPod } from './same-node-verdict.ts';

const uidOf = (name: string) => `Kubernetes//Pod/shop/${name}` as WorkloadUid;
const at = (address: string): IpAddress => address as IpAddress;

function workload(name: string, change: Partial<Workload> = {}): Workload {
  return makeWorkload(uidOf(name), { name, addresses: [at('10.0.9.9')], ...change });
}

const web = workload('web', { addresses: [at('10.0.0.1')] });
const service = makeService('shop', 'api.shop.svc.cluster.local', { addresses: [vip('10.96.0.20')] });
const unrelated = makeService('shop', 'db.shop.svc.cluster.local', { addresses: [vip('10.96.0.30')] });
const behind = (key: ServiceKey) => ({ services: new Map([[key, []]]) });
const locals = new Set([web.uid, uidOf('api-1')]);

describe('VerdictDependencies', () => {
  function open(...stored: Workload[]): (delta: Partial<ModelDelta>) => boolean {
    const store = new Store();
    store.apply({ ...emptyDelta, services: [service, unrelated], workloads: [web, ...stored] });
    const before = store.snapshot();
    const dependencies = new VerdictDependencies();
    dependencies.add(before, web, at('10.0.0.2'));
    dependencies.add(before, web, at('10.96.0.20'));
    const isLocal = (uid: WorkloadUid) => locals.has(uid);
    return (delta) => dependencies.concern({ ...emptyDelta, ...delta }, { before, isLocal });
  }
  const gone = (uid: WorkloadUid) => ({ removed: { ...emptyDelta.removed, workloads: [uid] } });

  test.each<[string, Partial<ModelDelta>]>([
    ['a policy', { policies: [makePolicy('shop', 'any', { rules: [] })] }],
    ['a policy that goes', { removed: { ...emptyDelta.removed, policies: ['shop/any' as never] } }],
    ['a Service, whatever its address', { services: [unrelated] }],
    ['a pod of the node that goes', { removed: { ...emptyDelta.removed, pods: [uidOf('x')] } }],
    ['the configuration of the mesh', { meshConfig: defaultMeshConfig }],
    ['a part of the model that is not known here', { novelties: [1] } as object],
    ['a workload of this node', { workloads: [workload('api-1')] }],
    ['one at the address of a destination', { workloads: [workload('x', { addresses: [at('10.0.0.2')] })] }],
    ['one behind the Service of a destination', { workloads: [workload('x', behind(service.key))] }],
    ['a workload of this node that goes', gone(uidOf('api-1'))],
  ])('are concerned by %s', (_what, delta) => {
    expect(open()(delta)).toBe(true);
  });

  test.each<[string, Partial<Workload>]>([
    ['had the address of a destination', { addresses: [at('10.0.0.2')] }],
    ['was behind the Service of a destination', behind(service.key)],
  ])('are concerned by a workload that %s', (_what, former) => {
    const concern = open(workload('x', former));
    expect(concern({ workloads: [workload('x')] })).toBe(true);
    expect(concern(gone(uidOf('x')))).toBe(true);
  });

  test.each<[string, Partial<ModelDelta>]>([
    ['nothing', {}],
    ['a workload elsewhere', { workloads: [workload('x', behind(unrelated.key))] }],
    ['one that goes elsewhere', gone(uidOf('known'))],
    ['one that was never known', gone(uidOf('unknown'))],
    ['what only waypoints read', { enrolledNamespaces: ['shop'], waypoints: [{} as never] }],
  ])('are not concerned by %s', (_what, delta) => {
    expect(open(workload('known'))(delta)).toBe(false);
  });

  test('are those of the last decisions', () => {
    const dependencies = new VerdictDependencies();
    const before = new Store().snapshot();
    dependencies.add(before, undefined, at('10.0.0.2'));
    const delta = { ...emptyDelta, workloads: [workload('x', { addresses: [at('10.0.0.2')] })] };
    const context = { before, isLocal: () => false };
    expect(dependencies.concern(delta, context)).toBe(true);
    dependencies.clear();
    expect(dependencies.concern(delta, context)).toBe(false);
  });

  test('let no change pass that makes another verdict', () => {
    const names = ['web', 'api-1', 'a', 'x', 'y'];
    const addresses = ['10.0.0.1', '10.0.0.2', '10.0.0.3', '10.0.0.4'].map(at);
    const gateway = fc.oneof(
      fc.constantFrom(...addresses).map((address) => ({ kind: 'address' as const, network: '', address })),
      fc.constant({ kind: 'hostname' as const, namespace: 'shop', hostname: service.hostname }),
    );
    const one = fc.record({
      name: fc.constantFrom(...names),
      address: fc.constantFrom(...addresses),
      network: fc.constantFrom('', '', '', 'other'),
      keys: fc.subarray([service.key, unrelated.key]),
      capacity: fc.constantFrom(1, 1, 2),
      health: fc.constantFrom('healthy' as const, 'healthy' as const, 'unhealthy' as const),
      gateway: fc.oneof({ weight: 7, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary: gateway }),
    });
    const made = one.map(({ name, address, keys, gateway: destination, ...fields }) =>
      workload(name, {
        ...fields,
        addresses: [address],
        services: new Map(keys.map((key) => [key, []])),
        ...(destination === undefined ? {} : { waypoint: { destination, hboneMtlsPort: 15008 } }),
      }),
    );
    const pods = new Map<WorkloadUid, LocalPod>();
    for (const [i, uid] of [...locals].entries()) {
      const pod = makeNodePod(uid, {
        name: i === 0 ? 'web' : 'api-1',
        addresses: [addresses[i] as IpAddress],
      });
      pods.set(uid, { pod, netnsCookie: BigInt(i + 1), netnsPath: '' });
    }
    const source = pods.get(web.uid) as LocalPod;
    const authorizer = new Authorizer();
    const destinations = [...addresses.slice(0, 2), at('10.96.0.20')];
    const verdicts = (snapshot: Snapshot): string =>
      JSON.stringify(
        destinations.map((address) => {
          const question = { source, destination: { address, port: 80 }, pods };
          const verdict = decideDirect(snapshot, authorizer, question);
          return verdict.kind === 'direct'
            ? verdict.endpoints.map(({ uid, address: of, port }) => `${uid} ${of} ${port}`)
            : '';
        }),
      );
    const kernel = { ...defaultMeshConfig, sameNode: 'kernel' as const };
    const ports = [{ name: 'http', servicePort: 80, targetPort: 80, appProtocol: 'unknown' as const }];
    let direct = 0;
    let spared = 0;
    fc.assert(
      fc.property(
        fc.array(made, { maxLength: 3 }),
        fc.array(made, { maxLength: 2 }),
        fc.subarray(names.map(uidOf), { maxLength: 1 }),
        (stored, changed, removed) => {
          const store = new Store();
          const services = [{ ...service, ports }, unrelated];
          const [base, api] = [...pods.values()].map(({ pod: { name, addresses: own } }) =>
            workload(name, { addresses: own, ...(name === 'web' ? {} : behind(service.key)) }),
          ) as [Workload, Workload];
          store.apply({ ...emptyDelta, services, workloads: [base, api, ...stored], meshConfig: kernel });
          const before = store.snapshot();
          const dependencies = new VerdictDependencies();
          for (const address of destinations)
            dependencies.add(before, before.workloadByUid(web.uid), address);
          let effective: ModelDelta = emptyDelta;
          store.subscribe((_, delta) => (effective = delta));
          const removal = { ...emptyDelta.removed, workloads: removed };
          store.apply({ ...emptyDelta, workloads: changed, removed: removal });
          if (verdicts(before).includes('10.0.0')) direct++;
          if (dependencies.concern(effective, { before, isLocal: (uid) => pods.has(uid) })) return;
          if (!isEmptyDelta(effective)) spared++;
          expect(verdicts(store.snapshot())).toBe(verdicts(before));
        },
      ),
      { numRuns: 2_000 },
    );
    expect(direct).toBeGreaterThan(0);
    expect(spared).toBeGreaterThan(0);
  });
});
