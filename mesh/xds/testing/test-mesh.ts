// A controller and nodes on loopback for tests: real TLS, real gRPC, hand-moved clocks. Only tests import this.

import { emptyDelta, type ModelDelta } from '../../model/model.ts';
import type { NodePod } from '../../model/node-pod.ts';
import type { Service, ServiceKey } from '../../model/service.ts';
import type { PolicyKey, Workload, WorkloadUid } from '../../model/workload.ts';
import type { AuthorizationPolicy } from '../../model/authorization.ts';
import type { IpAddress } from '../../model/ip-address.ts';
import { type Clock, ManualClock } from '../../runtime/clock.ts';
import { createLogger } from '../../runtime/logger.ts';
import { XdsClient, type XdsClientHandler, type XdsClientOptions, type XdsClientState } from '../client.ts';
import { GrpcServer } from '../grpc-server.ts';
import { ResourceStore } from '../resource-store.ts';
import { XdsServer, type XdsServerOptions } from '../server.ts';
import { makeTestRoot, type TestRoot } from './test-pki.ts';

export const silent = createLogger({ component: 'test', level: 'silent' });

export interface TestController {
  readonly store: ResourceStore;
  readonly xds: XdsServer;
  readonly grpc: GrpcServer;
  readonly root: TestRoot;
  readonly port: number;
  stop(): Promise<void>;
}

/** Serves on 127.0.0.1; the token `node-a` is node-a, and so on; any other is refused. */
export async function startController(
  options: Partial<XdsServerOptions> & { root?: TestRoot; port?: number; maxConnectionAgeMs?: number } = {},
): Promise<TestController> {
  const root = options.root ?? (await makeTestRoot());
  const clock = new ManualClock();
  const store = options.store ?? new ResourceStore({ clock });
  const xds = new XdsServer({
    store,
    clock,
    logger: silent,
    authenticate: ({ token }) =>
      token !== undefined && /^node-[a-z]$/.test(token) ? { name: token, node: token } : undefined,
    ...options,
  });
  const tls = await root.issue({ dns: ['localhost'], ip: ['127.0.0.1'] });
  const { maxConnectionAgeMs } = options;
  const grpc = new GrpcServer({ tls, ...(maxConnectionAgeMs !== undefined && { maxConnectionAgeMs }) });
  xds.register(grpc);
  const port = await grpc.bind(`127.0.0.1:${options.port ?? 0}`);
  const stop = async () => {
    xds.close();
    await grpc.close({ clock: immediately });
  };
  return { store, xds, grpc, root, port, stop };
}

/** A clock on which every wait is over at once. */
export const immediately: Clock = {
  now: () => 0,
  monotonic: () => 0,
  after(_delayMs, run) {
    const timer = setImmediate(run);
    return { cancel: () => clearImmediate(timer) };
  },
};

/** A client and the model it was told of; `until` awaits a state of it, checked after every event. */
export class TestNode implements XdsClientHandler {
  readonly clock = new ManualClock();
  readonly client: XdsClient;
  readonly workloads = new Map<WorkloadUid, Workload>();
  readonly services = new Map<ServiceKey, Service>();
  readonly policies = new Map<PolicyKey, AuthorizationPolicy>();
  readonly pods = new Map<WorkloadUid, NodePod>();
  readonly deltas: ModelDelta[] = [];
  readonly states: XdsClientState[] = [];
  readonly reasons: string[] = [];
  meshConfig: ModelDelta['meshConfig'];
  enrolledNamespaces: ModelDelta['enrolledNamespaces'];
  synced = 0;
  #waiting: { holds: () => boolean; resolve: () => void }[] = [];

  constructor({ port, root }: { port: number; root: TestRoot }, options: Partial<XdsClientOptions> = {}) {
    this.client = new XdsClient(
      {
        address: `127.0.0.1:${port}`,
        rootCertificates: () => root.certificate,
        token: () => 'node-a',
        clusterId: 'Kubernetes',
        node: { id: 'ztunnel~127.0.0.1~z.ns~ns.svc.cluster.local', metadata: { NODE_NAME: 'node-a' } },
        mode: 'wildcard',
        clock: this.clock,
        logger: silent,
        random: () => 0,
        ...options,
      },
      this,
    );
  }

  onDelta(delta: ModelDelta): void {
    this.deltas.push(delta);
    for (const workload of delta.workloads) this.workloads.set(workload.uid, workload);
    for (const service of delta.services) this.services.set(service.key, service);
    for (const policy of delta.policies) this.policies.set(policy.key, policy);
    for (const pod of delta.pods) this.pods.set(pod.uid, pod);
    for (const uid of delta.removed.workloads) this.workloads.delete(uid);
    for (const key of delta.removed.services) this.services.delete(key);
    for (const key of delta.removed.policies) this.policies.delete(key);
    for (const uid of delta.removed.pods) this.pods.delete(uid);
    if (delta.meshConfig) this.meshConfig = delta.meshConfig;
    if (delta.enrolledNamespaces) this.enrolledNamespaces = delta.enrolledNamespaces;
    this.#check();
  }

  onSynced(): void {
    this.synced += 1;
    this.#check();
  }

  onState(state: XdsClientState, reason?: string): void {
    this.states.push(state);
    if (reason !== undefined) this.reasons.push(reason);
    this.#check();
  }

  get state(): XdsClientState | undefined {
    return this.states.at(-1);
  }

  until(holds: () => boolean): Promise<void> {
    if (holds()) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push({ holds, resolve }));
  }

  /** Waits out the backoff, and not a ms more; returns how long it was. */
  retry(): number {
    const known = this.states.length;
    let waitedMs = 0;
    for (; this.states.length === known; waitedMs++) {
      if (waitedMs > 15_000) throw new Error('The client does not try again');
      this.clock.advance(1);
    }
    return waitedMs;
  }

  #check(): void {
    for (const waiter of this.#waiting) if (waiter.holds()) waiter.resolve();
    this.#waiting = this.#waiting.filter(({ holds }) => !holds());
  }
}

export function makeWorkload(name: string, fields: Partial<Workload> = {}): Workload {
  return {
    uid: `c//Pod/shop/${name}` as WorkloadUid,
    name,
    namespace: 'shop',
    network: '',
    addresses: [],
    hostname: '',
    trustDomain: 'cluster.local',
    serviceAccount: 'default',
    tunnelProtocol: 'hbone',
    node: 'node-a',
    canonicalName: name,
    canonicalRevision: 'latest',
    workloadType: 'pod',
    workloadName: name,
    clusterId: 'Kubernetes',
    health: 'healthy',
    networkMode: 'standard',
    capacity: 1,
    locality: { region: '', zone: '', subzone: '' },
    services: new Map(),
    authorizationPolicies: [],
    ...fields,
  };
}

export function makeService(name: string, fields: Partial<Service> = {}): Service {
  const hostname = `${name}.shop.svc.cluster.local`;
  return {
    key: `shop/${hostname}` as ServiceKey,
    name,
    namespace: 'shop',
    hostname,
    addresses: [{ network: '', address: '10.96.0.1' as IpAddress, length: 32 }],
    ports: [{ name: 'http', servicePort: 80, targetPort: 8080, appProtocol: 'http11' }],
    subjectAltNames: [],
    weightedWaypoints: [],
    loadBalancing: { mode: 'unspecified', routingPreference: [], healthPolicy: 'only-healthy' },
    ipFamilies: 'automatic',
    canonical: false,
    visibility: 'public',
    ...fields,
  };
}

export function makePolicy(name: string, fields: Partial<AuthorizationPolicy> = {}): AuthorizationPolicy {
  return {
    key: `shop/${name}` as PolicyKey,
    name,
    namespace: 'shop',
    scope: 'namespace',
    action: 'deny',
    dryRun: false,
    rules: [],
    ...fields,
  };
}

export function makePod(name: string, node: string): NodePod {
  return {
    uid: `c//Pod/shop/${name}` as WorkloadUid,
    name,
    namespace: 'shop',
    serviceAccount: 'default',
    trustDomain: 'cluster.local',
    node,
    addresses: [],
    netns: `/run/netns/${name}`,
    enrolled: true,
  };
}

export function makeDelta({
  removed,
  ...fields
}: Partial<Omit<ModelDelta, 'removed'>> & { removed?: Partial<ModelDelta['removed']> }): ModelDelta {
  return {
    ...emptyDelta,
    ...fields,
    removed: { ...emptyDelta.removed, ...removed },
  };
}
