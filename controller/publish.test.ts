import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { modelEqual } from '../mesh/model/diff.ts';
import { makeWorkload } from '../mesh/model/fixture.ts';
import { emptyDelta, emptyModel, type Model } from '../mesh/model/model.ts';
import { ManualClock } from '../mesh/runtime/clock.ts';
import { decodeAddress } from '../mesh/xds/address-codec.ts';
import { decodeAuthorization } from '../mesh/xds/authorization-codec.ts';
import { ResourceStore } from '../mesh/xds/resource-store.ts';
import { addressType, authorizationType, meshConfigType, nodePodType } from '../mesh/xds/type-urls.ts';
import { decodeMeshConfig, decodeNodePod } from '../mesh/xds/weft-codec.ts';
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
    'puts on the wire what translate() made of %s, and nodes read it back unchanged',
    (file) => {
      const store = new ResourceStore({ clock: new ManualClock() });
      const model = load(file);
      new ModelPublisher({ store }).publish(model);
      expect(modelEqual(readBack(store), model)).toBe(true);
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
      expect(modelEqual(readBack(store), model)).toBe(true);
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

function readBack(store: ResourceStore): Model {
  const workloads: Model['workloads'] = new Map();
  const services: Model['services'] = new Map();
  const policies: Model['policies'] = new Map();
  const pods: Model['pods'] = new Map();
  const put = <V>(map: ReadonlyMap<string, V>, key: string, value: V) =>
    (map as Map<string, V>).set(key, value);
  for (const { any } of store.entries(addressType)) {
    const address = good(decodeAddress(any));
    if (address.kind === 'workload') put(workloads, address.workload.uid, address.workload);
    else put(services, address.service.key, address.service);
  }
  for (const { any, name } of store.entries(authorizationType)) {
    const policy = good(decodeAuthorization(any, name));
    put(policies, policy.key, policy);
  }
  for (const { any } of store.entries(nodePodType)) {
    const pod = good(decodeNodePod(any));
    put(pods, pod.uid, pod);
  }
  const [config] = [...store.entries(meshConfigType)];
  if (config === undefined) throw new Error('No MeshConfig was published');
  return {
    ...emptyModel,
    workloads,
    services,
    policies,
    pods,
    meshConfig: good(decodeMeshConfig(config.any)),
  };
}

function good<T>(decoded: { ok: true; value: T } | { ok: false; reason: string }): T {
  if (!decoded.ok) throw new Error(decoded.reason);
  return decoded.value;
}
