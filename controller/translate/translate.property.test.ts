import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { modelEqual } from '../../mesh/model/diff.ts';
import { buildResources, type Resources, type TypedObject } from '../resources/resources.ts';
import { parseManifest } from '../source/parse-manifest.ts';
import { translate } from './translate.ts';

const namespace = fc.constantFrom('shop', 'bank', 'weft-system');
const name = fc.constantFrom('a', 'b', 'c', 'd');
const labels = fc.dictionary(
  fc.constantFrom('app', 'version', 'weft.dev/mode', 'istio.io/dataplane-mode'),
  fc.constantFrom('a', 'b', 'ambient', 'none', ''),
  { maxKeys: 3 },
);
const address = fc.constantFrom(
  '10.0.0.1',
  '10.0.0.2',
  'fd00::1',
  'fd00:0::1',
  '::ffff:10.0.0.1',
  'bad',
  'host.example.com',
  '',
);
const created = fc.option(fc.constantFrom('2026-01-01T00:00:00Z', '2026-02-01T00:00:00Z', 'not a time'), {
  nil: undefined,
});
const port = fc.record({
  name: fc.constantFrom('http', 'x', ''),
  port: fc.constantFrom(80, 443),
  targetPort: fc.constantFrom(8080, 'http', '9090'),
});
const target = fc.record({
  kind: fc.constantFrom('Service', 'ServiceEntry', 'Gateway'),
  name,
  group: fc.constantFrom('', 'weft.dev', 'gateway.networking.k8s.io'),
});
const mode = fc.constantFrom('STRICT', 'PERMISSIVE', 'UNSET');
const endpoint = fc.record({
  address,
  ports: fc.dictionary(fc.constantFrom('http', 'x'), fc.constantFrom(1, 2)),
  labels,
  weight: fc.nat(3),
});

const specs: Record<string, fc.Arbitrary<object>> = {
  Namespace: fc.constant({}),
  Node: fc.constant({}),
  Pod: fc.record({
    spec: fc.record({
      nodeName: fc.constantFrom('n1', ''),
      hostNetwork: fc.boolean(),
      containers: fc.constant([{ ports: [{ name: 'http', containerPort: 7 }] }]),
    }),
    status: fc.option(
      fc.record({
        podIPs: fc.array(fc.record({ ip: address }), { maxLength: 2 }),
        phase: fc.constantFrom('Running', 'Failed'),
      }),
      { nil: undefined },
    ),
  }),
  Service: fc.record({
    spec: fc.record({
      selector: fc.option(labels, { nil: undefined }),
      clusterIP: fc.constantFrom('None', '10.96.0.1', 'bad'),
      ports: fc.array(port, { maxLength: 2 }),
      type: fc.constantFrom('ClusterIP', 'ExternalName'),
    }),
  }),
  EndpointSlice: fc.record({
    addressType: fc.constantFrom('IPv4', 'FQDN'),
    endpoints: fc.array(fc.record({ addresses: fc.array(address, { minLength: 1, maxLength: 2 }) }), {
      maxLength: 2,
    }),
    ports: fc.array(fc.record({ name: fc.constantFrom('http', 'x'), port: fc.constant(1) }), {
      maxLength: 2,
    }),
  }),
  AuthorizationPolicy: fc.record({
    spec: fc.oneof(
      fc.record({
        selector: fc.record({ matchLabels: labels }),
        action: fc.constantFrom('ALLOW', 'DENY', 'AUDIT'),
      }),
      fc.record({ targetRefs: fc.array(target, { minLength: 1, maxLength: 2 }) }),
    ),
  }),
  PeerAuthentication: fc.record({
    spec: fc.record(
      {
        selector: fc.record({ matchLabels: labels }),
        mtls: fc.record({ mode }),
        portLevelMtls: fc.dictionary(fc.constantFrom('80', '0'), fc.record({ mode }), { minKeys: 1 }),
      },
      { requiredKeys: ['mtls'] },
    ),
  }),
  TrafficPolicy: fc.record({
    spec: fc.record(
      {
        targetRefs: fc.array(target, { minLength: 1, maxLength: 3 }),
        connectTimeout: fc.constantFrom('1s', '99h'),
        dialAttempts: fc.constant(2),
      },
      { requiredKeys: ['targetRefs'] },
    ),
  }),
  ServiceEntry: fc.record({
    spec: fc.record(
      {
        hosts: fc.uniqueArray(fc.constantFrom('x.example', '*.y.example', 'a.shop.svc.cluster.local'), {
          minLength: 1,
        }),
        ports: fc.constant([{ number: 80, name: 'http' }]),
        resolution: fc.constantFrom('NONE', 'STATIC', 'DNS'),
        addresses: fc.uniqueArray(
          address.filter((text) => text !== ''),
          { maxLength: 2 },
        ),
        endpoints: fc.array(endpoint, { minLength: 1, maxLength: 2 }),
      },
      { requiredKeys: ['hosts', 'ports', 'resolution'] },
    ),
  }),
  WorkloadEntry: fc.record({ spec: endpoint }),
  MeshConfig: fc.record({
    spec: fc.record({ mtls: fc.record({ mode: fc.constantFrom('STRICT', 'PERMISSIVE') }) }),
  }),
};

const apiVersionOf = (kind: string) =>
  ['Namespace', 'Node', 'Pod', 'Service'].includes(kind)
    ? 'v1'
    : kind === 'EndpointSlice'
      ? 'discovery.k8s.io/v1'
      : 'weft.dev/v1alpha1';

const annotations = fc.dictionary(
  fc.constantFrom('weft.dev/netns', 'weft.dev/addresses'),
  fc.constantFrom('a', '/x', '..', '10.0.0.3', ''),
  { maxKeys: 2 },
);
const object = fc.constantFrom(...Object.keys(specs)).chain((kind) =>
  fc
    .record({
      metadata: fc.record({ name, namespace, labels, annotations, creationTimestamp: created }),
      body: specs[kind] as fc.Arbitrary<object>,
    })
    .map(({ metadata, body }) => ({ apiVersion: apiVersionOf(kind), kind, metadata, ...body })),
);

/** As the directory source would have it: what does not pass the schema is not there. */
function typed(objects: readonly object[]): readonly TypedObject[] {
  const list = { apiVersion: 'v1', kind: 'List', items: objects };
  return parseManifest(JSON.stringify(list), 'x.json').objects.map((parsed) => parsed.typed);
}

/** Duplicates of one name would make the order of objects count, which is the source's business. */
function firstOfEachName(objects: readonly TypedObject[]): TypedObject[] {
  const seen = new Set<string>();
  return objects.filter(({ kind, object: { metadata } }) => {
    const key = `${kind}/${metadata.namespace}/${metadata.name}`;
    return seen.has(key) ? false : seen.add(key);
  });
}

const inputs = fc.array(object, { maxLength: 14 }).map((objects) => firstOfEachName(typed(objects)));
const run = (resources: Resources) => translate(resources, { clusterId: 'c', standalone: true });

describe('translate()', () => {
  it('is total, and its result holds together, whatever the resources are', () => {
    let translated = 0;
    fc.assert(
      fc.property(inputs, (objects) => {
        const { model, statuses } = run(buildResources(objects));
        translated += model.workloads.size;
        for (const map of [model.workloads, model.services, model.policies, model.pods]) {
          const keys = [...map.keys()] as string[];
          expect(keys).toEqual(keys.toSorted());
        }
        const pods = new Map<string, string>();
        for (const workload of model.workloads.values()) {
          for (const key of workload.services.keys()) expect(model.services.has(key)).toBe(true);
          for (const key of workload.authorizationPolicies)
            expect(model.policies.get(key)?.scope).toBe('workload');
          if (!workload.uid.includes('//Pod/') || workload.networkMode === 'host-network') continue;
          for (const ip of workload.addresses) {
            expect(pods.get(ip) ?? workload.uid).toBe(workload.uid);
            pods.set(ip, workload.uid);
          }
        }
        for (const { uid, enrolled } of model.pods.values()) {
          expect(model.workloads.get(uid)?.tunnelProtocol === 'hbone').toBe(enrolled);
        }
        for (const { conditions } of statuses) {
          expect(conditions.some(({ type }) => type === 'Accepted')).toBe(true);
          for (const { message } of conditions) expect(message).not.toBe('');
        }
      }),
      { numRuns: 400 },
    );
    expect(translated).toBeGreaterThan(100);
  });

  it('gives the same result for the same objects in any order', () => {
    const shuffled = inputs.chain((objects) =>
      fc.tuple(fc.constant(objects), fc.shuffledSubarray(objects, { minLength: objects.length })),
    );
    fc.assert(
      fc.property(shuffled, ([objects, other]) => {
        const a = run(buildResources(objects));
        const b = run(buildResources(other));
        expect(modelEqual(a.model, b.model)).toBe(true);
        expect(a.statuses).toEqual(b.statuses);
      }),
      { numRuns: 300 },
    );
  });

  it('does not change the resources it reads', () => {
    fc.assert(
      fc.property(inputs, (objects) => {
        const before = JSON.stringify(objects);
        run(buildResources(objects));
        expect(JSON.stringify(objects)).toBe(before);
      }),
      { numRuns: 50 },
    );
  });
});
