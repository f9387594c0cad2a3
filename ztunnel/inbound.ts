// One inbound connection, tunnelled or plain: track -> authorise -> dial the application -> splice -> record. Registered
// before it is authorised, asked again on every policy change, 200 only after policy and connect both succeeded.
// A workload with a waypoint takes new connections from that only, and asks no policies again about them; what was
// open when it got the waypoint stays and is held to the policies as before.

import type { IncomingConnect, ServerTunnel } from '../mesh/hbone/server-tunnel.ts';
import { proxyHeader } from '../mesh/hbone/proxy-protocol.ts';
import { waypointRequired } from '../mesh/hbone/reason-frame.ts';
import { TunnelSplice } from '../mesh/hbone/splice.ts';
import type { BufferBudget } from '../mesh/io/byte-queue.ts';
import { Slab } from '../mesh/io/slab.ts';
import { familyOf, type SocketAddress } from '../mesh/io/socket-address.ts';
import { type DialledSocket, TcpDial } from '../mesh/io/tcp-dial.ts';
import { TcpSplice } from '../mesh/io/tcp-splice.ts';
import { TcpStream } from '../mesh/io/tcp-stream.ts';
import { type IpAddress, isIpv6 } from '../mesh/model/ip-address.ts';
import { formatSpiffeId, type Identity } from '../mesh/model/spiffe-id.ts';
import type { Workload } from '../mesh/model/workload.ts';
import { denialReason } from './access-log.ts';
import type { CapturedPod } from './captured-pod.ts';
import type { ConnectionInfo, ResponseFlag } from './connection-info.ts';
import type { TrackedConnection } from './connection-table.ts';
import type { DataPlane } from './data-plane.ts';
import { endText } from './outbound.ts';
import { isMeshPort } from './ports.ts';
import { isWaypointOf, passage } from './waypoint-gate.ts';

/** A fresh socket takes this much at once. */
const headers = new Slab(1_024);

const notKnown = 'the destination workload is not known here';

/** How the caller is answered; the only difference between a tunnelled and a plain connection. */
export interface InboundCaller {
  /** The connection to the application stands: returns how to drop both sides, and the bytes so far. */
  join(app: TcpStream, options: JoinOptions): JoinedConnection;
  refuse(status: number, reason: string, options?: RefusalOptions): void;
  /** Tells the far side of a joined connection why policies end it; the end follows. */
  announceDenial(reason: string): void;
}

export interface RefusalOptions {
  /** A Weft node that has not heard of the waypoint yet may try again. */
  readonly waypointRequired: boolean;
}

export interface JoinOptions {
  /** Of the application's pod. */
  readonly budget: BufferBudget;
  readonly onEnd: (error: string | undefined) => void;
}

export interface JoinedConnection {
  close(): void;
  progress(): { readonly received: number; readonly sent: number };
}

export interface InboundRequest {
  readonly pod: CapturedPod;
  /** The application's address and port: what policies see. */
  readonly target: SocketAddress;
  /** In a tunnel: what the caller asked for, which an application that stands in for others is told. */
  readonly asked?: SocketAddress;
  /** L4 peer of the tunnel or of the plain socket: what policies see. */
  readonly remote: SocketAddress;
  /** Whom the caller says it speaks for (`forwarded`). Not believed by itself. */
  readonly forwardedFor: SocketAddress | undefined;
  readonly peer: Identity | undefined;
  readonly info: ConnectionInfo;
}

export class InboundConnection implements TrackedConnection {
  readonly pod: CapturedPod;
  readonly info: ConnectionInfo;
  place = -1;
  #plane: DataPlane;
  #request: InboundRequest;
  #caller: InboundCaller;
  #dial: TcpDial | undefined;
  #joined: JoinedConnection | undefined;
  #cut: { readonly reason: string; readonly flag: ResponseFlag } | undefined;
  #viaWaypoint = false;
  #done = false;

  constructor(plane: DataPlane, request: InboundRequest, caller: InboundCaller) {
    this.#plane = plane;
    this.pod = request.pod;
    this.info = request.info;
    this.#request = request;
    this.#caller = caller;
    plane.connections.add(this);
  }

  start(): void {
    const { target } = this.#request;
    if (isMeshPort(target.port))
      return this.#refuse(503, 'CONNECT', `port ${target.port} belongs to the mesh: a proxy loop`);
    const workload = this.#workload();
    if (workload === undefined) return this.#refuse(503, 'CONNECT', notKnown);
    const way = passage(this.#plane.snapshot, workload, this.#request.peer);
    if (way.kind === 'refused') return this.#refuse(401, 'DENY', way.reason, { waypointRequired: true });
    this.#viaWaypoint = way.kind === 'from-waypoint';
    const denial = this.#denial(workload);
    if (denial !== undefined) return this.#refuse(401, 'DENY', denial);
    this.#dialApp(workload);
  }

  recheck(): void {
    if (this.#done) return;
    const workload = this.#workload();
    if (workload === undefined) return this.cut(notKnown);
    const denial = this.#denial(workload);
    if (denial === undefined) return;
    const reason = `${denial} (policy change)`;
    if (this.#joined === undefined) return this.#refuse(401, 'DENY', reason);
    this.#caller.announceDenial(reason);
    this.#end(this.#joined, reason, 'DENY');
  }

  cut(reason: string): void {
    if (this.#done) return;
    if (this.#joined === undefined) return this.#refuse(503, 'CONNECT', reason);
    this.#end(this.#joined, reason, '-');
  }

  progress = (): { received: number; sent: number } => this.#joined?.progress() ?? { received: 0, sent: 0 };

  /** The caller went away before it was answered. */
  callerGone(): void {
    if (this.#joined !== undefined) return;
    this.#refuse(503, 'CONNECT', 'the client went away before the connection was made');
  }

  #workload(): Workload | undefined {
    const workload = this.#plane.snapshot.workloadByUid(this.pod.pod.uid);
    if (workload !== undefined) this.info.destinationWorkload = workload;
    return workload;
  }

  /** Why policies forbid the connection. One that came from the waypoint is trusted for as long as that is the waypoint. */
  #denial(workload: Workload): string | undefined {
    const { target, remote, peer } = this.#request;
    const { snapshot } = this.#plane;
    if (this.#viaWaypoint && peer !== undefined && isWaypointOf(snapshot, workload, peer)) return undefined;
    const decision = this.#plane.authorizer.authorize(snapshot, workload, {
      peer,
      sourceIp: remote.address,
      destinationIp: target.address,
      destinationPort: target.port,
    });
    if (decision.audits.length > 0) this.#plane.report.audited(this.info, decision.audits);
    return decision.allowed ? undefined : denialReason(decision);
  }

  /**
   * What the application shall see as its peer. The waypoint is believed about its client; anybody else only about the
   * port of the address that the connection itself comes from. An IPv6 client can not be shown on an IPv4 connection.
   */
  #client(): SocketAddress {
    const { remote, forwardedFor } = this.#request;
    if (forwardedFor === undefined) return remote;
    if (forwardedFor.address === remote.address) return forwardedFor;
    return this.#viaWaypoint && familyOf(forwardedFor.address) === familyOf(remote.address)
      ? forwardedFor
      : remote;
  }

  #dialApp(workload: Workload): void {
    const { pod } = this.#request;
    const target = this.#lastHop(workload);
    if (isMeshPort(target.port))
      return this.#refuse(
        503,
        'CONNECT',
        `port ${target.port} of the application tunnel belongs to the mesh`,
      );
    let fd: number;
    try {
      fd = pod.createLastHop(target.address, this.#client());
    } catch (error) {
      return this.#refuse(503, 'CONNECT', error instanceof Error ? error.message : String(error));
    }
    this.#dial = new TcpDial(this.#plane.reactor, fd, {
      target,
      timeoutMs: this.#plane.settings.connectTimeoutMs,
      onConnected: (connected) => this.#join(connected, workload.applicationTunnel?.protocol === 'proxy'),
      onFailed: (error) => this.#refuse(503, 'CONNECT', `the application refused: ${error.message}`),
    });
  }

  /** The application itself, or the tunnel it takes what others are asked for through (WIRE 1.7), over loopback. */
  #lastHop({ applicationTunnel: tunnel }: Workload): SocketAddress {
    const { target, asked } = this.#request;
    if (tunnel === undefined || asked === undefined) return target;
    const address = tunnel.protocol === 'proxy' ? loopbackBeside(target.address) : target.address;
    return { address, port: tunnel.port === 0 ? target.port : tunnel.port };
  }

  #join(connected: DialledSocket, withHeader: boolean): void {
    this.#dial = undefined;
    const app = new TcpStream(connected);
    const { asked, peer } = this.#request;
    if (withHeader && asked !== undefined) {
      const identity = peer === undefined ? undefined : formatSpiffeId(peer);
      const header = proxyHeader({ source: this.#client(), destination: asked, identity });
      headers.bytes.set(header);
      if (app.write(headers, 0, header.length) !== header.length) {
        this.#plane.reactor.forget(app.fd);
        app.reset();
        return this.#refuse(503, 'CONNECT', 'the application does not take the PROXY header');
      }
    }
    this.#plane.report.opened(this.info);
    const { budget } = this.pod;
    this.#joined = this.#caller.join(app, { budget, onEnd: (error) => this.#ended(error) });
  }

  #end(joined: JoinedConnection, reason: string, flag: ResponseFlag): void {
    this.#cut = { reason, flag };
    joined.close();
  }

  #ended(error: string | undefined): void {
    if (this.#done) return;
    const { received, sent } = this.progress();
    this.#finish();
    const why = this.#cut?.reason ?? error;
    this.#plane.report.closed(this.info, {
      received,
      sent,
      flag: this.#cut?.flag ?? '-',
      ...(why === undefined ? {} : { error: why }),
    });
  }

  #refuse(status: number, flag: ResponseFlag, reason: string, options?: RefusalOptions): void {
    if (this.#done) return;
    this.#dial?.cancel();
    this.#finish();
    this.#caller.refuse(status, reason, options);
    this.#plane.report.failed(this.info, flag, reason);
  }

  #finish(): void {
    this.#done = true;
    this.#plane.connections.delete(this);
    this.#plane.connectionEnded(this.pod);
  }
}

function loopbackBeside(address: IpAddress): IpAddress {
  return (isIpv6(address) ? '::1' : '127.0.0.1') as IpAddress;
}

/** A request in a tunnel. */
export class TunnelCaller implements InboundCaller {
  #plane: DataPlane;
  #request: IncomingConnect;
  #tunnel: ServerTunnel;

  constructor(plane: DataPlane, request: IncomingConnect) {
    this.#plane = plane;
    this.#request = request;
    this.#tunnel = request.tunnel;
  }

  join(app: TcpStream, { budget, onEnd }: JoinOptions): JoinedConnection {
    const { reactor, settings } = this.#plane;
    const tunnel = this.#tunnel;
    const splice: TunnelSplice = new TunnelSplice(
      reactor,
      app,
      { session: tunnel.session, stream: this.#request.stream },
      {
        budget,
        idleTimeoutMs: settings.idleTimeoutMs,
        halfClosedTimeoutMs: settings.halfClosedTimeoutMs,
        onEnd: (end) => {
          onEnd(end === 'finished' ? undefined : endText(end));
          tunnel.streamEnded();
        },
      },
    );
    this.#request.accept([], splice);
    return {
      close: () => splice.close(),
      progress: () => ({ received: splice.toApp, sent: splice.fromApp }),
    };
  }

  refuse(status: number, reason: string, options?: RefusalOptions): void {
    const headers = options?.waypointRequired === true ? [waypointRequired] : [];
    this.#request.reject(status, reason, { headers });
    this.#tunnel.streamEnded();
  }

  announceDenial(reason: string): void {
    this.#tunnel.explain(this.#request.stream, reason);
  }
}

/** A plaintext connection. */
export class PlainCaller implements InboundCaller {
  #plane: DataPlane;
  #client: TcpStream;

  constructor(plane: DataPlane, client: TcpStream) {
    this.#plane = plane;
    this.#client = client;
  }

  join(app: TcpStream, { budget, onEnd }: JoinOptions): JoinedConnection {
    const { reactor, settings } = this.#plane;
    const splice: TcpSplice = new TcpSplice(reactor, this.#client, app, {
      budget,
      idleTimeoutMs: settings.idleTimeoutMs,
      halfClosedTimeoutMs: settings.halfClosedTimeoutMs,
      onEnd: (end) => onEnd(end === 'finished' ? undefined : endText(end === 'reset' ? 'app-reset' : end)),
    });
    return {
      close: () => splice.close(),
      progress: () => ({ received: splice.forwardBytes, sent: splice.backwardBytes }),
    };
  }

  refuse(): void {
    this.#client.reset();
  }

  announceDenial(): void {}
}
