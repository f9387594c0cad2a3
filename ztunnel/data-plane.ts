// A data worker's world: one reactor, the model as it was last told, certificates, pods, and every connection they
// carry. Wires the pieces together and applies what the main thread says; the pieces do the work.

import { FlowMaps, type FlowMapFds } from '../bpf/flow-maps.ts';
import { Authorizer } from '../mesh/authz/authorizer.ts';
import { TunnelPool, type TunnelRoute } from '../mesh/hbone/pool.ts';
import { ServerTunnel } from '../mesh/hbone/server-tunnel.ts';
import { BufferBudget, BufferShare } from '../mesh/io/byte-queue.ts';
import type { IoError } from '../mesh/io/io-error.ts';
import * as libc from '../mesh/io/libc.ts';
import type { Reactor } from '../mesh/io/reactor.ts';
import { localAddress, resetAndClose } from '../mesh/io/socket.ts';
import type { SocketAddress } from '../mesh/io/socket-address.ts';
import { TcpListener } from '../mesh/io/tcp-listener.ts';
import { TcpStream } from '../mesh/io/tcp-stream.ts';
import type { ModelDelta } from '../mesh/model/model.ts';
import type { SpiffeId } from '../mesh/model/spiffe-id.ts';
import type { WorkloadUid } from '../mesh/model/workload.ts';
import type { Clock } from '../mesh/runtime/clock.ts';
import type { Snapshot } from '../mesh/state/snapshot.ts';
import { Store } from '../mesh/state/store.ts';
import { Balancer } from '../mesh/balance/balancer.ts';
import { type DrainKind, WorkerDrain } from './worker-drain.ts';
import { CapturedPod } from './captured-pod.ts';
import { ConnectionTable } from './connection-table.ts';
import { acceptTunnelRequest, inboundInfo } from './hbone-request.ts';
import { HostnameRequests } from '../mesh/proxy/hostname-requests.ts';
import { InboundConnection, PlainCaller } from './inbound.ts';
import { OutboundConnection } from './outbound.ts';
import { ProvenPairs } from './proven-pairs.ts';
import type { Report } from './report.ts';
import type { ProvenConnection } from './same-node.ts';
import { TlsIdentities } from '../mesh/proxy/tls-identities.ts';
import { formatProof } from './self-probe-proof.ts';
import {
  type DataPlaneSettings,
  leavingLingerMs,
  type WorkerPod,
  type WorkerStart,
} from './worker-messages.ts';

export class DataPlane {
  readonly reactor: Reactor;
  readonly clock: Clock;
  readonly settings: DataPlaneSettings;
  readonly report: Report;
  readonly flowMaps: FlowMaps;
  readonly certificates = new TlsIdentities();
  readonly authorizer = new Authorizer();
  readonly connections = new ConnectionTable();
  readonly budget: BufferBudget;
  readonly pool: TunnelPool;
  readonly balancer: Balancer;
  readonly hostnames: HostnameRequests;
  readonly pairs: ProvenPairs;
  #selfProbe: WorkerStart['selfProbe'];
  #store = new Store();
  #pods = new Map<WorkloadUid, CapturedPod>();
  /** No longer captured; kept until the last connection and tunnel has ended. */
  #leaving = new Set<CapturedPod>();
  #tunnels = new Map<ServerTunnel, CapturedPod>();
  /** When a workload was last seen to enter the mesh, reactor ms; swept with the model. */
  #joined = new Map<WorkloadUid, number>();
  #drain: WorkerDrain | undefined;

  constructor(
    reactor: Reactor,
    flowMaps: FlowMapFds,
    options: {
      settings: DataPlaneSettings;
      report: Report;
      clock: Clock;
      selfProbe: WorkerStart['selfProbe'];
      /** Asks for a name's addresses; `hostnames.answer` is to follow. */
      lookUp: (hostname: string) => void;
      /** Told of pairs of this node's pods that talk, once a second each at most. */
      proven?: (connection: ProvenConnection) => void;
    },
  ) {
    this.reactor = reactor;
    this.clock = options.clock;
    this.settings = options.settings;
    this.report = options.report;
    this.flowMaps = new FlowMaps(flowMaps);
    this.#selfProbe = options.selfProbe;
    this.budget = new BufferBudget(options.settings.bufferBudgetBytes);
    this.hostnames = new HostnameRequests(options.lookUp);
    this.pairs = new ProvenPairs({ now: () => reactor.now, tell: options.proven ?? (() => {}) });
    this.pool = new TunnelPool(reactor, options.settings.liveness);
    this.balancer = new Balancer({
      random: Math.random,
      now: () => reactor.now,
      shards: this.settings.workers,
    });
  }

  get snapshot(): Snapshot {
    return this.#store.snapshot();
  }

  applyModel(delta: ModelDelta): void {
    const before = this.snapshot;
    for (const workload of delta.workloads) {
      const known = before.workloadByUid(workload.uid);
      if (workload.tunnelProtocol === 'hbone' && known?.tunnelProtocol === 'none')
        this.#joined.set(workload.uid, this.reactor.now);
    }
    for (const uid of delta.removed.workloads) this.#joined.delete(uid);
    this.#store.apply(delta);
    this.balancer.onChange(this.snapshot, delta);
    if (delta.meshConfig !== undefined) this.report.configure(delta.meshConfig);
    const policiesMayDiffer =
      delta.policies.length > 0 || delta.removed.policies.length > 0 || delta.workloads.length > 0;
    if (policiesMayDiffer) this.connections.recheckAll();
  }

  /** True if the workload entered the mesh less than `ms` ago: its node may not have its listeners up yet. */
  joinedWithin(uid: WorkloadUid, ms: number): boolean {
    const at = this.#joined.get(uid);
    return at !== undefined && this.reactor.now - at < ms;
  }

  setCertificate(spiffeId: SpiffeId, credentials: Parameters<TlsIdentities['set']>[1]): void {
    this.certificates.set(spiffeId, credentials);
    // New streams shall be carried by the new certificate; open ones finish where they are.
    this.pool.drain((route) => route.source === spiffeId);
  }

  addPod({ pod, listeners }: WorkerPod): void {
    const captured = new CapturedPod(pod, listeners.netns, {
      flowMaps: this.flowMaps,
      budget: new BufferShare(this.budget),
    });
    const replaced = this.#pods.get(pod.uid);
    this.#pods.set(pod.uid, captured);
    captured.listen({
      capture: [
        ...listeners.outbound.map((fd) =>
          this.#listen(fd, (accepted, remote) => this.#outbound(captured, accepted, remote)),
        ),
        ...listeners.plaintext.map((fd) =>
          this.#listen(fd, (accepted, remote) => this.#plaintext(captured, accepted, remote)),
        ),
      ],
      hbone: listeners.hbone.map((fd) =>
        this.#listen(fd, (accepted, remote) => this.#hbone(captured, accepted, remote)),
      ),
    });
    if (replaced !== undefined) this.#leave(replaced);
  }

  removePod(uid: WorkloadUid, how: 'drain' | 'now'): void {
    const captured = this.#pods.get(uid);
    this.#pods.delete(uid);
    if (captured !== undefined) this.#leave(captured);
    if (how === 'drain') return;
    // It may have left and come back before: what its earlier listeners took goes, too.
    for (const pod of [...this.#leaving]) if (pod.pod.uid === uid) this.#close(pod);
  }

  /** The answer to a self-probe that came by this pod's listener. */
  answerSelfProbe({ pod }: CapturedPod, nonce: Uint8Array): string {
    const { secret, worker } = this.#selfProbe;
    return formatProof(secret, nonce, { process: process.pid, worker, podUid: pod.uid });
  }

  /** True for a pod that this node captures. */
  isLocal(uid: WorkloadUid): boolean {
    return this.#pods.has(uid);
  }

  /** To be called whenever a connection of `pod` has ended. */
  connectionEnded(pod: CapturedPod): void {
    if (this.#leaving.has(pod)) this.#closeIfUnused(pod);
    this.#drain?.check();
  }

  /** Ends gracefully (worker-drain.ts); `onDrained` is called when the last connection and the last tunnel have ended. */
  drain(kind: DrainKind, onDrained: () => void): void {
    this.#drain = new WorkerDrain(kind, this.reactor, {
      connections: () => this.connections.size,
      tunnels: () => this.#tunnels.size,
      sayGoodbye: () => {
        for (const tunnel of this.#tunnels.keys()) tunnel.drain();
        this.pool.drain(() => true);
      },
      stopListening: () => {
        for (const pod of [...this.#pods.values(), ...this.#leaving]) pod.stopListening();
      },
      onDrained,
    });
    this.#drain.check();
  }

  /** Drops everything. */
  close(reason: string): void {
    this.connections.cutAll(reason);
    this.pool.destroy(() => true);
    for (const tunnel of [...this.#tunnels.keys()]) tunnel.destroy();
    for (const pod of [...this.#pods.values(), ...this.#leaving]) pod.close();
    this.#pods.clear();
    this.#leaving.clear();
    this.certificates[Symbol.dispose]();
  }

  /**
   * What is open finishes. Nodes that have not heard yet still ask for tunnels: they get them for a while, as the pod's
   * listener is an ordinary one once capture has ended.
   */
  #leave(captured: CapturedPod): void {
    this.#leaving.add(captured);
    captured.stopCapturing();
    this.pool.drain((route) => isFrom(captured, route));
    this.reactor.after(leavingLingerMs, () => {
      if (!captured.open) return;
      captured.stopListening();
      for (const [tunnel, pod] of [...this.#tunnels]) if (pod === captured) tunnel.drain();
      this.#closeIfUnused(captured);
    });
  }

  #closeIfUnused(captured: CapturedPod): void {
    if (captured.listening || this.connections.countOf(captured) > 0) return;
    for (const pod of this.#tunnels.values()) if (pod === captured) return;
    this.#close(captured);
  }

  #close(captured: CapturedPod): void {
    this.#leaving.delete(captured);
    if (!captured.open) return;
    captured.close();
    this.connections.cutAll('the pod is gone', captured);
    // Back in the mesh meanwhile: what the pool has now is the new one's.
    if (!this.#pods.has(captured.pod.uid)) this.pool.destroy((route) => isFrom(captured, route));
    for (const [tunnel, pod] of [...this.#tunnels]) if (pod === captured) tunnel.destroy();
  }

  #listen(fd: number, onConnection: (fd: number, remote: SocketAddress) => void): TcpListener {
    return new TcpListener(this.reactor, fd, {
      onConnection,
      admit: () => this.connections.size + this.#tunnels.size < this.settings.maxConnections,
      onError: (error) => this.report.problem(error.message),
    });
  }

  #outbound(pod: CapturedPod, fd: number, remote: SocketAddress): void {
    new OutboundConnection(this, pod, fd, remote).start();
  }

  #plaintext(pod: CapturedPod, fd: number, remote: SocketAddress): void {
    const target = localAddress(fd);
    const client = new TcpStream(fd);
    const info = inboundInfo(this, { pod, remote, target, peer: undefined });
    const request = { pod, target, remote, forwardedFor: undefined, peer: undefined, info };
    const connection = new InboundConnection(this, request, new PlainCaller(this, client));
    client.guard(this.reactor, () => connection.callerGone());
    connection.start();
  }

  #hbone(pod: CapturedPod, fd: number, remote: SocketAddress): void {
    const tls = this.certificates.get(pod.spiffeId);
    if (tls === undefined) return resetAndClose(fd);
    const tunnel: ServerTunnel = new ServerTunnel(this.reactor, fd, {
      context: tls.server,
      trustDomain: pod.identity.trustDomain,
      remote,
      local: localAddress(fd),
      liveness: this.settings.liveness,
      handshakeTimeoutMs: this.settings.handshakeTimeoutMs,
      onRequest: (request) => acceptTunnelRequest(this, pod, request),
      onFailed: (error: IoError) => {
        const info = inboundInfo(this, { pod, remote, target: tunnel.options.local, peer: undefined });
        this.report.failed(info, 'TLS_FAILURE', error.message);
      },
      onClosed: () => {
        this.#tunnels.delete(tunnel);
        if (this.#leaving.has(pod)) this.#closeIfUnused(pod);
        this.#drain?.check();
      },
    });
    this.#tunnels.set(tunnel, pod);
    if (this.#drain?.refusesTunnels === true) tunnel.drain();
  }
}

function isFrom({ pod, spiffeId }: CapturedPod, route: TunnelRoute): boolean {
  return route.source === spiffeId && pod.addresses.includes(route.sourceAddress);
}

/** Closes descriptors that were handed over but can not be used. */
export function closeListeners({ listeners }: WorkerPod): void {
  for (const fd of [...listeners.outbound, ...listeners.hbone, ...listeners.plaintext]) libc.close(fd);
}
