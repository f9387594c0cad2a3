// Translation, pushes and memory at growing sizes up to 1,000 nodes and 100,000 pods, in one process: the controller's
// own parts between validated objects and serialized responses, without sockets, TLS and clients.

import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { create } from '@bufbuild/protobuf';
import { ModelPublisher } from '../../controller/publish.ts';
import { resourceKinds } from '../../controller/resources/resource-kind.ts';
import {
  buildResources,
  objectKey,
  type Resources,
  type TypedObject,
} from '../../controller/resources/resources.ts';
import { validateObject } from '../../controller/source/validate-object.ts';
import { translate } from '../../controller/translate/translate.ts';
import { ManualClock } from '../../mesh/runtime/clock.ts';
import { createLogger } from '../../mesh/runtime/logger.ts';
import {
  AggregatedDiscoveryService,
  DeltaDiscoveryRequestSchema,
  type DeltaDiscoveryResponse,
} from '../../mesh/xds/gen/envoy/service/discovery/v3/discovery_pb.ts';
import { grpcService } from '../../mesh/xds/grpc-service.ts';
import { ResourceStore } from '../../mesh/xds/resource-store.ts';
import { addressType, authorizationType } from '../../mesh/xds/type-urls.ts';
import { XdsStream } from '../../mesh/xds/xds-stream.ts';
import { median } from '../median.ts';
import { type MeshSize, meshObjects, nodeName, podObject, type RawObject } from './mesh-objects.ts';

const podCounts = [1_000, 3_000, 10_000, 30_000, 100_000];
const changes = 7;
/** Services that one node's pods call. */
const callees = 20;

const { responseSerialize } = grpcService(AggregatedDiscoveryService).deltaAggregatedResources;
const logger = createLogger({ component: 'simulation', level: 'silent' });

/** Prints one line a size. */
export function simulate(print: (line: string) => void): void {
  print(
    '| pods | nodes | heap with objects and model, MB | first translation, ms | one change: translate, ms | diff and encode, ms | push to all nodes, ms | new node: ms | MB | on demand: resources a node | push to all nodes, ms |',
  );
  print('|---|---|---|---|---|---|---|---|---|---|---|');
  for (const pods of podCounts) print(measureSize({ pods, services: pods / 10, nodes: pods / 100 }));
}

function measureSize(size: MeshSize): string {
  const emptyBytes = heapBytes();
  let resources = buildResources(meshObjects(size).map(validated));
  const store = new ResourceStore({ clock: new ManualClock() });
  const publisher = new ModelPublisher({ store });
  // Nodes that hold everything: they came when there was nothing, and what followed is not told to them here.
  const everything = Array.from({ length: size.nodes }, (_, n) => new SimulatedNode(store, nodeName(n)));
  for (const node of everything) node.subscribe([]);
  const firstMs = timed(() => publisher.publish(translate(resources, translation).model));
  store.flush();
  const heapMb = (heapBytes() - emptyBytes) / 1e6;
  const asking = Array.from({ length: size.nodes }, (_, n) => new SimulatedNode(store, nodeName(n)));
  for (const [n, node] of asking.entries()) node.subscribe(calledBy(n, size));
  const share = (asking[0] as SimulatedNode).resources;

  const steps = {
    translate: [] as number[],
    publish: [] as number[],
    push: [] as number[],
    ask: [] as number[],
  };
  for (let i = 0; i < changes; i++) {
    resources = withChangedPod(resources, podObject(i, size, { version: `v${i + 2}` }));
    let next = translate(resources, translation);
    steps.translate.push(timed(() => (next = translate(resources, translation))));
    steps.publish.push(timed(() => publisher.publish(next.model)));
    const stops = [
      store.subscribe((told) => {
        steps.push.push(timed(() => everything.forEach((node) => node.stream.onChanges(told))));
        steps.ask.push(timed(() => asking.forEach((node) => node.stream.onChanges(told))));
      }),
    ];
    store.flush();
    for (const stop of stops) stop();
  }
  const late = new SimulatedNode(store, 'node-late');
  const lateMs = timed(() => late.subscribe([]));
  const cells = [
    size.pods,
    size.nodes,
    heapMb,
    firstMs,
    median(steps.translate),
    median(steps.publish),
    median(steps.push),
  ];
  cells.push(lateMs, late.bytes / 1e6, share, median(steps.ask));
  return `| ${cells.map((value) => Number((value ?? Number.NaN).toPrecision(2)).toLocaleString('en')).join(' | ')} |`;
}

const translation = { clusterId: 'Kubernetes', trustDomain: 'cluster.local' };

/** A stream whose transport serializes and acknowledges at once. */
class SimulatedNode {
  readonly stream: XdsStream;
  resources = 0;
  bytes = 0;

  constructor(store: ResourceStore, node: string) {
    this.stream = new XdsStream({
      caller: { name: node, node },
      store,
      logger,
      counters: { responses: 0, resources: 0, nacks: 0 },
      maxResponseBytes: 64 * 1024 * 1024,
      transport: {
        write: (response, flushed) => {
          this.#take(response);
          flushed();
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
  }

  /** To policies, and to addresses: all of them, or those of the names. */
  subscribe(names: readonly string[]): void {
    const versions = { initialResourceVersions: {} };
    this.stream.onRequest(create(DeltaDiscoveryRequestSchema, { typeUrl: authorizationType, ...versions }));
    const request = { typeUrl: addressType, resourceNamesSubscribe: [...names], ...versions };
    this.stream.onRequest(create(DeltaDiscoveryRequestSchema, request));
  }

  #take(response: DeltaDiscoveryResponse): void {
    this.resources += response.resources.length;
    this.bytes += responseSerialize(response).length;
    const { typeUrl, nonce } = response;
    this.stream.onRequest(create(DeltaDiscoveryRequestSchema, { typeUrl, responseNonce: nonce }));
  }
}

function calledBy(n: number, { services }: MeshSize): string[] {
  return Array.from({ length: callees }, (_, k) => {
    const service = (n * callees + k) % services;
    return `ns-${Math.floor(service / 10)}/app-${service}.ns-${Math.floor(service / 10)}.svc.cluster.local`;
  });
}

function validated(raw: RawObject): TypedObject {
  const kind = resourceKinds.get(raw.kind);
  const typed = kind === undefined ? undefined : validateObject(kind, raw).typed;
  if (typed === undefined)
    throw new Error(`Object "${raw.kind} ${raw.metadata.name}" of the benchmark is not valid`);
  return typed;
}

function withChangedPod(resources: Resources, raw: RawObject): Resources {
  const { kind, object } = validated(raw);
  if (kind !== 'Pod') throw new Error('Only pods change here');
  const { namespace, name } = object.metadata;
  return { ...resources, Pod: new Map(resources.Pod).set(objectKey(namespace, name), object) };
}

/** CPU time in ms, collector included: other programs on the machine do not count. */
function timed(run: () => unknown): number {
  const before = process.cpuUsage();
  run();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000;
}

function heapBytes(): number {
  setFlagsFromString('--expose-gc');
  (runInNewContext('gc') as () => void)();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}
