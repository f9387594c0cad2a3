// What one change costs, in counts instead of times: how much is made anew, encoded and sent.

import { create } from '@bufbuild/protobuf';
import { describe, expect, it } from 'vitest';
import { modelEqual } from '../mesh/model/diff.ts';
import type { Model } from '../mesh/model/model.ts';
import { ManualClock } from '../mesh/runtime/clock.ts';
import { createLogger } from '../mesh/runtime/logger.ts';
import {
  DeltaDiscoveryRequestSchema,
  type DeltaDiscoveryResponse,
} from '../mesh/xds/gen/envoy/service/discovery/v3/discovery_pb.ts';
import { ResourceStore } from '../mesh/xds/resource-store.ts';
import { addressType, authorizationType } from '../mesh/xds/type-urls.ts';
import { XdsStream } from '../mesh/xds/xds-stream.ts';
import { ModelPublisher } from './publish.ts';
import { type ResourceKind, resourceKinds } from './resources/resource-kind.ts';
import { emptyMaps, type KindName, type Resources } from './resources/resources.ts';
import { keepNoStatus, KindObjects } from './source/kind-objects.ts';
import { translate } from './translate/translate.ts';

const podCount = 60;
const nodeCount = 5;

/** The objects of a small cluster as its source keeps them. */
class TestCluster {
  readonly #kinds = new Map<KindName, KindObjects>();

  constructor() {
    this.put('Namespace', { name: 'shop', labels: { 'weft.dev/mode': 'ambient' } });
    for (let n = 0; n < nodeCount; n++) this.put('Node', { name: `node-${n}`, labels: {} });
    const ports = [{ name: 'http', port: 80, targetPort: 8080 }];
    this.put('Service', { name: 'web', namespace: 'shop' }, { spec: { selector: { app: 'web' }, ports } });
    for (let i = 0; i < podCount; i++) this.putPod(i, 'v1');
  }

  put(kind: KindName, metadata: { name: string; [field: string]: unknown }, rest: object = {}): void {
    let objects = this.#kinds.get(kind);
    if (objects === undefined) {
      objects = new KindObjects(resourceKinds.get(kind) as ResourceKind, { keepStatus: keepNoStatus });
      this.#kinds.set(kind, objects);
    }
    objects.put({ metadata, ...rest });
  }

  putPod(i: number, version: string): void {
    const metadata = { name: `web-${i}`, namespace: 'shop', labels: { app: 'web', version } };
    const spec = { nodeName: `node-${i % nodeCount}` };
    this.put('Pod', metadata, { spec, status: { podIP: `10.1.0.${i}` } });
  }

  get resources(): Resources {
    const maps = emptyMaps() as Record<KindName, ReadonlyMap<string, unknown>>;
    for (const [kind, objects] of this.#kinds) maps[kind] = objects.objects;
    return maps as Resources;
  }

  get model(): Model {
    return translate(this.resources, { clusterId: 'Kubernetes' }).model;
  }

  /** By the same objects, none of which was seen before. */
  get freshModel(): Model {
    return translate(structuredClone(this.resources), { clusterId: 'Kubernetes' }).model;
  }
}

function madeAnew(before: Model, after: Model): string[] {
  return [...after.workloads.values()]
    .filter((workload) => before.workloads.get(workload.uid) !== workload)
    .map(({ name }) => name);
}

function openStream(store: ResourceStore, node: string): DeltaDiscoveryResponse[] {
  const sent: DeltaDiscoveryResponse[] = [];
  const ask = (typeUrl: string, responseNonce = '') =>
    stream.onRequest(create(DeltaDiscoveryRequestSchema, { typeUrl, responseNonce }));
  const stream = new XdsStream({
    caller: { name: node, node },
    store,
    logger: createLogger({ component: 'test', level: 'silent' }),
    counters: { responses: 0, resources: 0, nacks: 0 },
    maxResponseBytes: 1024 * 1024,
    transport: {
      write: (response, flushed) => {
        sent.push(response);
        flushed();
        ask(response.typeUrl, response.nonce);
      },
      awaitSlot: (send) => {
        send(() => {});
        return () => {};
      },
      refuse: (reason) => {
        throw new Error(reason);
      },
    },
  });
  store.subscribe((changes) => stream.onChanges(changes));
  ask(authorizationType);
  ask(addressType);
  return sent;
}

describe('a change of one pod', () => {
  it('makes one workload anew, and nothing if nothing changed', () => {
    const cluster = new TestCluster();
    const before = cluster.model;
    cluster.putPod(7, 'v1');
    expect(madeAnew(before, cluster.model)).toEqual([]);
    cluster.putPod(7, 'v2');
    expect(madeAnew(before, cluster.model)).toEqual(['web-7']);
  });

  it('is encoded once and sent to each node in one response of one resource', () => {
    const cluster = new TestCluster();
    const store = new ResourceStore({ clock: new ManualClock() });
    const publisher = new ModelPublisher({ store });
    publisher.publish(cluster.model);
    store.flush();
    const nodes = Array.from({ length: nodeCount }, (_, n) => openStream(store, `node-${n}`));
    for (const sent of nodes) expect(sent.splice(0).at(-1)?.resources).toHaveLength(podCount + 1);
    cluster.putPod(7, 'v2');
    const delta = publisher.publish(cluster.model);
    expect([delta.workloads.length, delta.services.length]).toEqual([1, 0]);
    store.flush();
    const sizes = nodes.map((sent) => sent.map(({ resources }) => resources.length));
    expect(sizes).toEqual(Array.from({ length: nodeCount }, () => [1]));
  });

  it.each<[string, (cluster: TestCluster) => void, number]>([
    [
      'a namespace that leaves the mesh',
      (cluster) => cluster.put('Namespace', { name: 'shop', labels: {} }),
      podCount,
    ],
    [
      'a node that moves',
      (cluster) => cluster.put('Node', { name: 'node-1', labels: { 'topology.kubernetes.io/zone': 'b' } }),
      podCount / nodeCount,
    ],
    [
      'a service with another port',
      (cluster) => {
        const spec = { selector: { app: 'web' }, ports: [{ name: 'http', port: 81, targetPort: 8080 }] };
        cluster.put('Service', { name: 'web', namespace: 'shop' }, { spec });
      },
      podCount,
    ],
  ])('differs from what was remembered: %s', (_what, change, anew) => {
    const cluster = new TestCluster();
    const before = cluster.model;
    change(cluster);
    const after = cluster.model;
    expect(madeAnew(before, after)).toHaveLength(anew);
    expect(modelEqual(after, cluster.freshModel)).toBe(true);
  });
});
