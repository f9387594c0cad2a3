// What a controller has besides when its resources come from a Kubernetes cluster: the client, the source, leadership,
// statuses and events, callers known by ServiceAccount token, and a root certificate that replicas share. Loaded only
// then, because the Kubernetes client costs a controller of a directory tens of megabytes.

import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import type { Clock } from '../mesh/runtime/clock.ts';
import type { Logger } from '../mesh/runtime/logger.ts';
import { CaStateSecret } from './ca/ca-state-secret.ts';
import type { CaStateStore } from './ca/ca-state-store.ts';
import { type IssuerSource, SecretIssuer } from './ca/given-issuer.ts';
import { deployedGateways, withDeploymentProblems } from './deploy/deployed-gateways.ts';
import { RootsPublisher } from './deploy/roots-publisher.ts';
import { WaypointDeployer } from './deploy/waypoint-deployer.ts';
import { EventWriter } from './event-writer.ts';
import type { Authenticator } from './identity/authenticator.ts';
import { TokenReviewer, type WaypointPods } from './identity/token-review.ts';
import { KubeClient } from './kubernetes/kube-client.ts';
import type { ClusterReport } from './cluster-report.ts';
import { LeaderElection } from './leader.ts';
import { hostNetworkPods } from './nodes/host-network-pods.ts';
import type { LiveCondition } from './nodes/live-condition.ts';
import type { NodeTable } from './nodes/node-table.ts';
import { type HostNetworkPod, PodConditions } from './nodes/pod-conditions.ts';
import { withProblems } from './problem-statuses.ts';
import { objectKey, type Resources } from './resources/resources.ts';
import { ClusterSource } from './source/cluster-source.ts';
import type { Problem } from './source/problem.ts';
import type { ResourceSource, ResourcesHandler } from './source/resource-source.ts';
import { StatusWriter } from './status-writer.ts';
import type { Translation } from './translate/translate.ts';

/** What waypoints and node tunnels verify the controller by. */
interface Roots {
  rootsPem(): string;
  subscribe(listener: () => void): unknown;
}

export interface ClusterConfig {
  /** Undefined: the ServiceAccount of the pod this runs in. */
  readonly kubeconfig: string | undefined;
  /** The controller's own: leader lease, CA secret, node tunnels' service accounts. */
  readonly namespace: string;
  /** Secret of that namespace with a CA that was given. */
  readonly caSecret: string;
  /** Undefined: no waypoint is deployed. */
  readonly waypointImage: string | undefined;
}

export interface ClusterOptions {
  readonly clock: Clock;
  readonly waypoints: WaypointPods;
  readonly nodes: Pick<NodeTable, 'captureOf'>;
  /** Told before anything is written for it. */
  readonly onLead: (leading: boolean) => void;
  readonly clusterId: string;
  /** A logger for each part. */
  readonly logger: (component: string) => Logger;
}

/** Service accounts of node tunnels in the controller's namespace; `ztunnel` is what Istio's own is called. */
const nodeAccountNames = ['weft-ztunnel', 'ztunnel'];

export class Cluster {
  readonly source: ResourceSource;
  readonly authenticator: Authenticator;
  readonly caStore: CaStateStore;
  readonly givenCa: IssuerSource;
  readonly #client: KubeClient;
  readonly #source: ClusterSource;
  readonly #leader: LeaderElection;
  readonly #statuses: StatusWriter;
  readonly #events: EventWriter;
  readonly #conditions: PodConditions;
  readonly #deployer: WaypointDeployer | undefined;
  readonly #roots: RootsPublisher;
  #authority: Roots | undefined;
  #hostNetwork: readonly HostNetworkPod[] = [];
  #last: { readonly translation: Translation; readonly problems: readonly Problem[] } | undefined;

  /** Throws KubeError `CONFIG`. Nothing is asked of the API server before `source.start()`. */
  constructor(config: ClusterConfig, options: ClusterOptions, handler: ResourcesHandler) {
    const { kubeconfig, namespace, caSecret } = config;
    const { clock, logger, waypoints } = options;
    const client =
      kubeconfig === undefined ? KubeClient.inCluster({ clock }) : KubeClient.fromFile(kubeconfig, { clock });
    this.#client = client;
    this.#source = new ClusterSource(
      { client, clock, logger: logger('source') },
      {
        onResources: (resources, problems) => handler.onResources(resources, problems),
        onLive: (reference) => {
          if (reference.kind === 'Pod')
            this.#conditions.recheck(objectKey(reference.namespace, reference.name));
          else this.#statuses.recheck(reference);
        },
      },
    );
    this.source = this.#source;
    const identity = `${hostname()}_${randomBytes(4).toString('hex')}`;
    this.#statuses = new StatusWriter({ client, clock, logger: logger('status'), view: this.#source });
    this.#events = new EventWriter({
      client,
      clock,
      logger: logger('events'),
      identify: (reference) => this.#source.identify(reference),
      instance: identity,
    });
    this.#leader = new LeaderElection({
      client,
      clock,
      logger: logger('leader'),
      namespace,
      name: 'weft-controller',
      identity,
      onChange: (leading) => {
        this.#statuses.lead(leading);
        this.#events.lead(leading);
        this.#deployer?.lead(leading);
        this.#roots.lead(leading);
        options.onLead(leading);
        this.#conditions.lead(leading);
      },
    });
    this.#conditions = new PodConditions({
      client,
      table: options.nodes,
      live: (key) => this.#source.liveByKey('Pod', key)?.status as LiveCondition | undefined,
      clock,
      logger: logger('conditions'),
    });
    this.#roots = new RootsPublisher({
      client,
      clock,
      logger: logger('roots'),
      namespace,
      roots: () => this.#authority?.rootsPem(),
    });
    this.#deployer = this.#openDeployer(config, options);
    const nodeAccounts = new Set(nodeAccountNames.map((name) => `${namespace}/${name}`));
    this.authenticator = new TokenReviewer({
      client,
      clock,
      logger: logger('tokens'),
      nodeAccounts,
      waypoints,
    });
    this.caStore = new CaStateSecret({ client, namespace });
    this.givenCa = new SecretIssuer(client, { namespace, name: caSecret });
  }

  /** How it stands with the API server. */
  report(): ClusterReport {
    return {
      server: this.#client.server,
      leading: this.#leader.leading,
      leader: this.#leader.holder,
      statuses: { ...this.#statuses.counters, waiting: this.#statuses.waiting },
      watches: this.#source.watches(),
    };
  }

  /** What a node says of its pods changed; undefined: of all. */
  nodeChanged(node: string | undefined): void {
    this.#conditions.nodeChanged(node);
  }

  /** Pods of the mesh by their labels that no node captures. */
  get hostNetworkPods(): readonly HostNetworkPod[] {
    return this.#hostNetwork;
  }

  /** Begins to stand for election. */
  run(authority: Roots): void {
    this.#authority = authority;
    authority.subscribe(() => {
      this.#deployer?.recheck();
      this.#roots.recheck();
    });
    this.#leader.start();
  }

  onTranslated(
    translation: Translation,
    { resources, problems }: { readonly resources: Resources; readonly problems: readonly Problem[] },
  ): void {
    this.#last = { translation, problems };
    this.#hostNetwork = hostNetworkPods(resources);
    this.#conditions.update(translation.model, this.#hostNetwork);
    this.#deployer?.update(deployedGateways(translation.model, resources));
    this.#tellStatuses();
  }

  #tellStatuses(): void {
    if (this.#last === undefined) return;
    const { translation, problems } = this.#last;
    const statuses = withProblems(
      withDeploymentProblems(translation.statuses, this.#deployer?.problems ?? new Map()),
      problems,
      (reference) => this.#source.live(reference)?.generation,
    );
    this.#statuses.update(statuses);
    this.#events.update(statuses);
  }

  #openDeployer(
    { namespace, waypointImage: image }: ClusterConfig,
    { clock, logger, clusterId }: ClusterOptions,
  ): WaypointDeployer | undefined {
    if (image === undefined) return undefined;
    // A name in the certificate of a controller in any namespace (cli/install gives it the others).
    const controller = `weft-controller.${namespace}.svc:15012`;
    return new WaypointDeployer({
      client: this.#client,
      clock,
      logger: logger('waypoints'),
      settings: { image, controller, clusterId },
      identify: (reference) => this.#source.identify(reference),
      roots: () => this.#authority?.rootsPem(),
      onProblems: () => this.#tellStatuses(),
    });
  }

  /** Idempotent. */
  async close(): Promise<void> {
    await this.#source.close();
    await Promise.all([
      this.#statuses.close(),
      this.#events.close(),
      this.#conditions.close(),
      this.#deployer?.close(),
      this.#roots.close(),
    ]);
    await this.#leader.close();
    this.#client.close();
  }
}
