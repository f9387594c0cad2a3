// A data worker's world: one reactor, the model as it was last told, one certificate, listeners, and every connection
// and request they carry. Wires the pieces together and applies what the main thread says; the pieces do the work.

import { Balancer } from '../../mesh/balance/balancer.ts';
import type { LivenessOptions } from '../../mesh/hbone/tunnel-settings.ts';
import { BufferBudget } from '../../mesh/io/byte-queue.ts';
import type { Reactor } from '../../mesh/io/reactor.ts';
import { localAddress, resetAndClose } from '../../mesh/io/socket.ts';
import type { SocketAddress } from '../../mesh/io/socket-address.ts';
import { TcpListener } from '../../mesh/io/tcp-listener.ts';
import { TcpTransport } from '../../mesh/io/tcp-transport.ts';
import type { TlsContext, TlsCredentials } from '../../mesh/io/tls-context.ts';
import type { IpAddress } from '../../mesh/model/ip-address.ts';
import type { ModelDelta } from '../../mesh/model/model.ts';
import type { GatewayKey } from '../../mesh/model/routing.ts';
import type { ServiceKey } from '../../mesh/model/service.ts';
import type { SpiffeId } from '../../mesh/model/spiffe-id.ts';
import type { Workload, WorkloadUid } from '../../mesh/model/workload.ts';
import type { HostnameAnswer } from '../../mesh/proxy/hostname-lookups.ts';
import { HostnameRequests } from '../../mesh/proxy/hostname-requests.ts';
import { TlsIdentities } from '../../mesh/proxy/tls-identities.ts';
import type { Clock, Timer } from '../../mesh/runtime/clock.ts';
import type { Snapshot } from '../../mesh/state/snapshot.ts';
import { Store } from '../../mesh/state/store.ts';
import { TokenGate } from '../jwt/token-gate.ts';
import type { TokenAnswer, TokenJob } from '../jwt/token-job.ts';
import { RateLimiter } from '../resilience/rate-limiter.ts';
import { RequestLimits } from '../resilience/request-limits.ts';
import { MirrorSampler } from '../routing/mirror-sampler.ts';
import type { ClientConnection } from './client-connection.ts';
import { DeadlineQueues } from './deadline-queues.ts';
import { DestinationViews } from './destination-view.ts';
import { Downstream } from './downstream/downstream.ts';
import { TunnelAcceptor } from './downstream/tunnel-acceptor.ts';
import { HttpEndpoints } from './http-endpoints.ts';
import type { PlaneReport } from './plane-report.ts';
import { RequestWorld } from './request-world.ts';
import { EndpointDialer } from './upstream/endpoint-dialer.ts';
import { Upstream } from './upstream/upstream.ts';
import { UpstreamPools } from './upstream/upstream-pools.ts';

/** Tunables of the data path, after configuration: whole, in range, frozen. */
export interface WaypointSettings {
  /** TCP and tunnel; of a connection to an endpoint. */
  readonly connectTimeoutMs: number;
  readonly handshakeTimeoutMs: number;
  /** A TCP connection, an upgraded one, or a request without a byte either way for this long is cut; 0 never. */
  readonly idleTimeoutMs: number;
  readonly halfClosedTimeoutMs: number;
  /** A client connection without a request for this long is closed. */
  readonly keepAliveTimeoutMs: number;
  /** Time for a request's head to come in whole. */
  readonly headTimeoutMs: number;
  /** An idle connection to an endpoint is closed after this time. */
  readonly upstreamIdleTimeoutMs: number;
  readonly liveness: LivenessOptions;
  /** Data workers of the waypoint: limits are shared out among them. */
  readonly workers: number;
  /** Client connections, tunnels and streams in tunnels a worker takes. */
  readonly maxConnections: number;
  /** HTTP/1.1 connections to one endpoint from this worker. */
  readonly maxConnectionsPerEndpoint: number;
  /** For what slow readers leave waiting, bytes. */
  readonly bufferBudgetBytes: number;
  /** Network this waypoint is in; `''` the default one. */
  readonly network: string;
  readonly trustDomain: string;
}

export const defaultWaypointSettings: WaypointSettings = Object.freeze({
  connectTimeoutMs: 5_000,
  handshakeTimeoutMs: 5_000,
  idleTimeoutMs: 3_600_000,
  halfClosedTimeoutMs: 60_000,
  keepAliveTimeoutMs: 3_600_000,
  headTimeoutMs: 60_000,
  upstreamIdleTimeoutMs: 60_000,
  liveness: { pingAfterMs: 10_000, pingTimeoutMs: 5_000, unusedReleaseMs: 300_000 },
  workers: 1,
  maxConnections: 50_000,
  maxConnectionsPerEndpoint: 1_024,
  bufferBudgetBytes: 256 * 1024 * 1024,
  network: '',
  trustDomain: 'cluster.local',
});

export interface WaypointPlaneOptions {
  readonly settings: WaypointSettings;
  readonly gateway: GatewayKey;
  readonly report: PlaneReport;
  readonly clock: Clock;
  /** In [0, 1); default Math.random. */
  readonly random?: () => number;
  /** Asks for the verification of a token; `answerToken` is to follow. */
  readonly verifyToken?: (job: TokenJob) => void;
  /** Asks for a name's addresses; `answerHostname` is to follow. */
  readonly lookUp?: (hostname: string) => void;
  /** Of the waypoint's pod: its workload's place decides which endpoints are near. */
  readonly address?: IpAddress;
  /** Of `limitTableMemory`: workers that share it enforce rate limits together. */
  readonly limitMemory?: SharedArrayBuffer;
  /** Where endpoints' tunnels listen; default 15008. */
  readonly hbonePort?: number;
}

export class WaypointPlane {
  readonly reactor: Reactor;
  readonly settings: WaypointSettings;
  readonly gateway: GatewayKey;
  readonly report: PlaneReport;
  readonly clock: Clock;
  readonly budget: BufferBudget;
  /** Ejections, for dumps. */
  readonly balancer: Balancer;
  readonly #store = new Store();
  readonly #identities = new TlsIdentities();
  #identity: SpiffeId | undefined;
  readonly #limits: RequestLimits;
  readonly #hostnames: HostnameRequests;
  readonly #tokens: TokenGate;
  readonly #dialer: EndpointDialer;
  readonly #pools: UpstreamPools;
  readonly #downstream: Downstream;
  readonly #tunnels: TunnelAcceptor;
  readonly #selfAddress: IpAddress | undefined;
  #listeners: TcpListener[] = [];
  #idleSweep: Timer | undefined;
  #onIdle: (() => void) | undefined;
  #self: { readonly generation: number; readonly workload: Workload } | undefined;

  constructor(reactor: Reactor, options: WaypointPlaneOptions) {
    const { settings, gateway, report, clock, random = Math.random } = options;
    this.reactor = reactor;
    this.settings = settings;
    this.gateway = gateway;
    this.report = report;
    this.clock = clock;
    this.#selfAddress = options.address;
    this.budget = new BufferBudget(settings.bufferBudgetBytes);
    const now = (): number => reactor.now;
    const snapshot = (): Snapshot => this.snapshot;
    const wallOffset = clock.now() - reactor.now;
    this.balancer = new Balancer({ random, now, shards: settings.workers });
    this.#limits = new RequestLimits({ shards: settings.workers });
    this.#hostnames = new HostnameRequests(options.lookUp ?? noLookUp);
    this.#tokens = new TokenGate({
      post: options.verifyToken ?? noVerifier,
      now: () => clock.now(),
      after: (delayMs, run) => reactor.after(delayMs, run),
    });
    const http = new HttpEndpoints(reactor, settings);
    this.#dialer = new EndpointDialer(reactor, {
      identities: this.#identities,
      liveness: settings.liveness,
      handshakeTimeoutMs: settings.handshakeTimeoutMs,
      budget: this.budget,
      hbonePort: options.hbonePort ?? 15_008,
    });
    this.#pools = new UpstreamPools(reactor, {
      dialer: this.#dialer,
      idleTimeoutMs: settings.upstreamIdleTimeoutMs,
      maxConnectionsPerEndpoint: settings.maxConnectionsPerEndpoint,
      makeConnection: (protocol, transport, handler) => http.client(protocol, transport, handler),
    });
    const upstream = new Upstream({
      reactor,
      balancer: this.balancer,
      pools: this.#pools,
      limits: this.#limits,
      deadlines: new DeadlineQueues(reactor),
      hostnames: this.#hostnames,
      random,
      snapshot,
      self: () => this.#workload(),
    });
    const world = new RequestWorld({
      reactor,
      clock,
      gateway,
      report,
      budget: this.budget,
      upstream,
      rateLimiter: new RateLimiter({
        // Workers that share the limits share the time: the wall's, from where this worker's own goes on.
        now: () => wallOffset + reactor.now,
        ...(options.limitMemory === undefined
          ? { shards: settings.workers }
          : { memory: options.limitMemory }),
      }),
      tokens: this.#tokens,
      mirrors: new MirrorSampler({ random }),
      random,
      connectTimeoutMs: settings.connectTimeoutMs,
      snapshot,
      identity: () => this.#identity,
    });
    this.#downstream = new Downstream({
      world,
      views: new DestinationViews(gateway, random),
      dialer: this.#dialer,
      http,
      budget: this.budget,
      idleTimeoutMs: settings.idleTimeoutMs,
      halfClosedTimeoutMs: settings.halfClosedTimeoutMs,
      headTimeoutMs: settings.headTimeoutMs,
      onEnded: () => this.#maybeIdle(),
    });
    this.#tunnels = new TunnelAcceptor(reactor, {
      gateway,
      network: settings.network,
      liveness: settings.liveness,
      handshakeTimeoutMs: settings.handshakeTimeoutMs,
      budget: this.budget,
      report,
      tls: () => this.#serverTls(),
      snapshot,
      admit: () => this.#hasRoom(),
      take: (client, transport, released) => this.#downstream.take(client, transport, released),
      onTunnelClosed: () => this.#maybeIdle(),
    });
    this.#watchIdle();
  }

  get snapshot(): Snapshot {
    return this.#store.snapshot();
  }

  /** What is under way now: connections of clients and tunnels, and requests. */
  get active(): { readonly connections: number; readonly requests: number } {
    return {
      connections: this.#downstream.connections + this.#tunnels.size,
      requests: this.#downstream.exchanges.size,
    };
  }

  /** Connections to endpoints and tunnels to them. */
  get upstreamConnections(): { readonly connections: number; readonly tunnels: number } {
    return { connections: this.#pools.connections, tunnels: this.#dialer.tunnels.size };
  }

  /** Requests to endpoints of the service, and those of them that wait for a connection. */
  requestsTo(service: ServiceKey): { readonly active: number; readonly waiting: number } {
    const { active, waiting } = this.#limits.of(service);
    return { active, waiting };
  }

  applyModel(delta: ModelDelta): void {
    this.#store.apply(delta);
    this.balancer.onChange(this.snapshot, delta);
    this.#limits.remove(delta.removed.services);
    for (const uid of delta.removed.workloads) this.#pools.drain(uid);
    if (delta.meshConfig !== undefined) this.report.configure(delta.meshConfig);
    const policiesMayDiffer =
      delta.policies.length + delta.removed.policies.length + delta.workloads.length > 0;
    if (policiesMayDiffer) this.#downstream.recheck();
  }

  /** The waypoint's own certificate, first and each time it is renewed. @throws IoError tls-credentials-invalid */
  setCertificate(spiffeId: SpiffeId, credentials: TlsCredentials): void {
    this.#identities.set(spiffeId, credentials);
    this.#identity = spiffeId;
    // New streams shall be carried by the new certificate; open ones finish where they are.
    this.#dialer.identity = spiffeId;
    this.#pools.drainTunnelled();
  }

  /** Serves tunnels on a listening socket; takes ownership of `fd`. */
  listenHbone(fd: number): void {
    this.#listen(fd, (accepted, remote) => this.#tunnels.accept(accepted, remote));
  }

  /** Serves plain connections for one port of a service; takes ownership of `fd`. */
  listenPlain(listener: { readonly fd: number; readonly service: ServiceKey; readonly port: number }): void {
    this.#listen(listener.fd, (accepted, remote) => this.#acceptPlain(accepted, remote, listener));
  }

  answerHostname(hostname: string, answer: HostnameAnswer): void {
    this.#hostnames.answer(hostname, answer);
  }

  answerToken(answer: TokenAnswer): void {
    this.#tokens.answer(answer);
  }

  /** Accepts nothing more: GOAWAY and Connection: close; `onIdle` once the last connection has ended. */
  drain(onIdle: () => void): void {
    this.#onIdle = onIdle;
    for (const listener of this.#listeners) listener.finish();
    this.#listeners = [];
    this.#downstream.drain();
    this.#tunnels.drain();
    this.#maybeIdle();
  }

  /** Drops everything. */
  close(reason: string): void {
    this.#onIdle = undefined;
    this.#idleSweep?.cancel();
    for (const listener of this.#listeners) listener.close();
    this.#listeners = [];
    this.#downstream.destroy(reason);
    this.#pools.destroy(reason);
    this.#tunnels.destroy();
    this.#dialer.tunnels.destroy(() => true);
    this.#identities[Symbol.dispose]();
  }

  #listen(fd: number, onConnection: (fd: number, remote: SocketAddress) => void): void {
    this.#listeners.push(
      new TcpListener(this.reactor, fd, {
        onConnection,
        admit: () => this.#hasRoom(),
        onError: (error) => this.report.problem(error.message),
      }),
    );
  }

  #acceptPlain(
    fd: number,
    remote: SocketAddress,
    { service: key, port }: { readonly service: ServiceKey; readonly port: number },
  ): void {
    const { snapshot, settings } = this;
    const service = snapshot.serviceByKey(key);
    const local = localAddress(fd);
    if (service === undefined) {
      resetAndClose(fd);
      const reason = `service ${key} is not known here`;
      return this.report.refused({ ...remote, spiffeId: undefined, authority: key, status: 0, reason });
    }
    const workload = snapshot.workloadByAddress(settings.network, remote.address);
    const client: ClientConnection = {
      listener: 'plain',
      address: remote.address,
      port: remote.port,
      peer: undefined,
      spiffeId: undefined,
      workload,
      namespace: workload?.namespace ?? '',
      authority: `${service.hostname}:${port}`,
      service,
      target: undefined,
      servicePort: port,
      destination: local.address,
    };
    this.#downstream.take(client, new TcpTransport(this.reactor, fd, { budget: this.budget }), nothing);
  }

  #serverTls(): { readonly context: TlsContext; readonly trustDomain: string } | undefined {
    const own = this.#identity === undefined ? undefined : this.#identities.get(this.#identity);
    return own === undefined ? undefined : { context: own.server, trustDomain: this.settings.trustDomain };
  }

  #hasRoom(): boolean {
    return this.#downstream.connections + this.#tunnels.size < this.settings.maxConnections;
  }

  #maybeIdle(): void {
    const onIdle = this.#onIdle;
    if (onIdle === undefined || this.#downstream.connections + this.#tunnels.size > 0) return;
    this.#onIdle = undefined;
    onIdle();
  }

  #watchIdle(): void {
    const { idleTimeoutMs } = this.settings;
    if (idleTimeoutMs === 0) return;
    this.#idleSweep = this.reactor.after(Math.ceil(idleTimeoutMs / 2), () => {
      this.#downstream.checkIdle();
      this.#watchIdle();
    });
  }

  /** The waypoint's own workload: its place decides which endpoints are near. */
  #workload(): Workload {
    const { snapshot } = this;
    if (this.#self?.generation === snapshot.generation) return this.#self.workload;
    const known =
      this.#selfAddress === undefined
        ? undefined
        : snapshot.workloadByAddress(this.settings.network, this.#selfAddress);
    const workload = known ?? { ...unplaced, network: this.settings.network };
    this.#self = { generation: snapshot.generation, workload };
    return workload;
  }
}

const nothing = (): void => {};

function noLookUp(): never {
  throw new Error('This data plane was made without a way to look up names');
}

function noVerifier(): never {
  throw new Error('This data plane was made without a way to verify tokens');
}

/** Where the waypoint is not known: every endpoint is as near as any other. */
const unplaced: Workload = {
  uid: '' as WorkloadUid,
  name: '',
  namespace: '',
  network: '',
  addresses: [],
  hostname: '',
  trustDomain: '',
  serviceAccount: '',
  tunnelProtocol: 'none',
  node: '',
  canonicalName: '',
  canonicalRevision: '',
  workloadType: 'pod',
  workloadName: '',
  clusterId: '',
  health: 'healthy',
  networkMode: 'standard',
  capacity: 1,
  locality: { region: '', zone: '', subzone: '' },
  services: new Map(),
  authorizationPolicies: [],
};
