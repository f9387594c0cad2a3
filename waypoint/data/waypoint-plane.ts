// A data worker of a waypoint: the model as it was last told, one certificate, listeners, and every connection and request
// they carry. Applies what the main thread says to the parts that do the work (plane-parts.ts).

import type { Balancer } from '../../mesh/balance/balancer.ts';
import type { BufferBudget } from '../../mesh/io/byte-queue.ts';
import type { Reactor } from '../../mesh/io/reactor.ts';
import { localAddress, resetAndClose } from '../../mesh/io/socket.ts';
import type { SocketAddress } from '../../mesh/io/socket-address.ts';
import { TcpListener } from '../../mesh/io/tcp-listener.ts';
import { TcpTransport } from '../../mesh/io/tcp-transport.ts';
import type { TlsCredentials } from '../../mesh/io/tls-context.ts';
import type { ModelDelta } from '../../mesh/model/model.ts';
import type { GatewayKey } from '../../mesh/model/routing.ts';
import type { ServiceKey } from '../../mesh/model/service.ts';
import type { SpiffeId } from '../../mesh/model/spiffe-id.ts';
import type { HostnameAnswer } from '../../mesh/proxy/hostname-lookups.ts';
import type { Clock, Timer } from '../../mesh/runtime/clock.ts';
import type { Snapshot } from '../../mesh/state/snapshot.ts';
import { Store } from '../../mesh/state/store.ts';
import type { TokenAnswer } from '../jwt/token-job.ts';
import type { ClientConnection } from './client-connection.ts';
import { buildPlaneParts, type PlaneParts } from './plane-parts.ts';
import type { WaypointPlaneOptions } from './plane-options.ts';
import type { PlaneReport } from './plane-report.ts';
import type { WaypointSettings } from './waypoint-settings.ts';

export class WaypointPlane {
  readonly reactor: Reactor;
  readonly settings: WaypointSettings;
  readonly gateway: GatewayKey;
  readonly report: PlaneReport;
  readonly clock: Clock;
  readonly #parts: PlaneParts;
  readonly #store = new Store();
  #identity: SpiffeId | undefined;
  #listeners: TcpListener[] = [];
  #idleSweep: Timer | undefined;
  #onIdle: (() => void) | undefined;

  constructor(reactor: Reactor, options: WaypointPlaneOptions) {
    this.reactor = reactor;
    this.settings = options.settings;
    this.gateway = options.gateway;
    this.report = options.report;
    this.clock = options.clock;
    this.#parts = buildPlaneParts(reactor, options, {
      snapshot: () => this.snapshot,
      identity: () => this.#identity,
      hasRoom: () => this.#hasRoom(),
      onEnded: () => this.#maybeIdle(),
    });
    this.#watchIdle();
  }

  /** For what slow readers leave waiting. */
  get budget(): BufferBudget {
    return this.#parts.budget;
  }

  /** Ejections, for dumps. */
  get balancer(): Balancer {
    return this.#parts.balancer;
  }

  get snapshot(): Snapshot {
    return this.#store.snapshot();
  }

  /** What is under way now: connections of clients and tunnels, and requests. */
  get active(): { readonly connections: number; readonly requests: number } {
    return {
      connections: this.#parts.downstream.connections + this.#parts.tunnels.size,
      requests: this.#parts.downstream.exchanges.size,
    };
  }

  /** Connections to endpoints and tunnels to them. */
  get upstreamConnections(): { readonly connections: number; readonly tunnels: number } {
    return { connections: this.#parts.pools.connections, tunnels: this.#parts.dialer.tunnels.size };
  }

  /** Requests to endpoints of the service, and those of them that wait for a connection. */
  requestsTo(service: ServiceKey): { readonly active: number; readonly waiting: number } {
    const { active, waiting } = this.#parts.limits.of(service);
    return { active, waiting };
  }

  applyModel(delta: ModelDelta): void {
    this.#store.apply(delta);
    this.#parts.balancer.onChange(this.snapshot, delta);
    this.#parts.limits.remove(delta.removed.services);
    for (const uid of delta.removed.workloads) this.#parts.pools.drain(uid);
    if (delta.meshConfig !== undefined) this.report.configure(delta.meshConfig);
    const policiesMayDiffer =
      delta.policies.length + delta.removed.policies.length + delta.workloads.length > 0;
    if (policiesMayDiffer) this.#parts.downstream.recheck();
  }

  /** The waypoint's own certificate, first and each time it is renewed. @throws IoError tls-credentials-invalid */
  setCertificate(spiffeId: SpiffeId, credentials: TlsCredentials): void {
    this.#parts.identities.set(spiffeId, credentials);
    this.#identity = spiffeId;
    // New streams shall be carried by the new certificate; open ones finish where they are.
    this.#parts.dialer.identity = spiffeId;
    this.#parts.pools.drainTunnelled();
  }

  /** Serves tunnels on a listening socket; takes ownership of `fd`. */
  listenHbone(fd: number): void {
    this.#listen(fd, (accepted, remote) => this.#parts.tunnels.accept(accepted, remote));
  }

  /** Serves plain connections for one port of a service; takes ownership of `fd`. */
  listenPlain(listener: { readonly fd: number; readonly service: ServiceKey; readonly port: number }): void {
    this.#listen(listener.fd, (accepted, remote) => this.#acceptPlain(accepted, remote, listener));
  }

  answerHostname(hostname: string, answer: HostnameAnswer): void {
    this.#parts.hostnames.answer(hostname, answer);
  }

  answerToken(answer: TokenAnswer): void {
    this.#parts.tokens.answer(answer);
  }

  /** Accepts nothing more: GOAWAY and Connection: close; `onIdle` once the last connection has ended. */
  drain(onIdle: () => void): void {
    this.#onIdle = onIdle;
    for (const listener of this.#listeners) listener.finish();
    this.#listeners = [];
    this.#parts.downstream.drain();
    this.#parts.tunnels.drain();
    this.#maybeIdle();
  }

  /** Drops everything. */
  close(reason: string): void {
    this.#onIdle = undefined;
    this.#idleSweep?.cancel();
    for (const listener of this.#listeners) listener.close();
    this.#listeners = [];
    this.#parts.downstream.destroy(reason);
    this.#parts.pools.destroy(reason);
    this.#parts.tunnels.destroy();
    this.#parts.dialer.tunnels.destroy(() => true);
    this.#parts.identities[Symbol.dispose]();
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
    this.#parts.downstream.take(client, new TcpTransport(this.reactor, fd, { budget: this.budget }), nothing);
  }

  #hasRoom(): boolean {
    return this.#parts.downstream.connections + this.#parts.tunnels.size < this.settings.maxConnections;
  }

  #maybeIdle(): void {
    const onIdle = this.#onIdle;
    if (onIdle === undefined || this.#parts.downstream.connections + this.#parts.tunnels.size > 0) return;
    this.#onIdle = undefined;
    onIdle();
  }

  #watchIdle(): void {
    const { idleTimeoutMs } = this.settings;
    if (idleTimeoutMs === 0) return;
    this.#idleSweep = this.reactor.after(Math.ceil(idleTimeoutMs / 2), () => {
      this.#parts.downstream.checkIdle();
      this.#watchIdle();
    });
  }
}

const nothing = (): void => {};
