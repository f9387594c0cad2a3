// One inbound connection, tunnelled or plain: track -> authorise -> dial the application -> splice -> record. Registered
// before it is authorised, asked again on every policy change, 200 only after policy and connect both succeeded.

import type { IncomingConnect, ServerTunnel } from '../mesh/hbone/server-tunnel.ts';
import { TunnelSplice } from '../mesh/hbone/splice.ts';
import type { SocketAddress } from '../mesh/io/socket-address.ts';
import { type DialledSocket, TcpDial } from '../mesh/io/tcp-dial.ts';
import { TcpSplice } from '../mesh/io/tcp-splice.ts';
import { TcpStream } from '../mesh/io/tcp-stream.ts';
import type { Identity } from '../mesh/model/spiffe-id.ts';
import { denialReason } from './access-log.ts';
import type { CapturedPod } from './captured-pod.ts';
import type { ConnectionInfo, ResponseFlag } from './connection-info.ts';
import type { TrackedConnection } from './connection-table.ts';
import type { DataPlane } from './data-plane.ts';
import { endText } from './outbound.ts';
import { isMeshPort } from './ports.ts';

/** How the caller is answered; the only difference between a tunnelled and a plain connection. */
export interface InboundCaller {
  /** The connection to the application stands: returns how to drop both sides, and the bytes so far. */
  join(app: TcpStream, onEnd: (error: string | undefined) => void): JoinedConnection;
  refuse(status: number, reason: string): void;
  /** Tells why, then cuts a joined connection's far side. */
  announceCut(reason: string): void;
}

export interface JoinedConnection {
  close(): void;
  progress(): { readonly received: number; readonly sent: number };
}

export interface InboundRequest {
  readonly pod: CapturedPod;
  /** The application's address and port. */
  readonly target: SocketAddress;
  /** L4 peer of the tunnel or of the plain socket: what policies see. */
  readonly remote: SocketAddress;
  /** What the application shall see as its peer. */
  readonly client: SocketAddress;
  readonly peer: Identity | undefined;
  readonly info: ConnectionInfo;
}

export class InboundConnection implements TrackedConnection {
  readonly pod: CapturedPod;
  readonly info: ConnectionInfo;
  #plane: DataPlane;
  #request: InboundRequest;
  #caller: InboundCaller;
  #dial: TcpDial | undefined;
  #joined: JoinedConnection | undefined;
  #cutReason: string | undefined;
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
    const denial = this.#denial();
    if (denial !== undefined) return this.#refuse(denial.status, 'DENY', denial.reason);
    this.#dialApp();
  }

  recheck(): void {
    if (this.#done) return;
    const denial = this.#denial();
    if (denial !== undefined) this.cut(`${denial.reason} (policy change)`);
  }

  cut(reason: string): void {
    if (this.#done) return;
    if (this.#joined === undefined) return this.#refuse(401, 'DENY', reason);
    this.#cutReason = reason;
    this.#caller.announceCut(reason);
    this.#joined.close();
  }

  progress = (): { received: number; sent: number } => this.#joined?.progress() ?? { received: 0, sent: 0 };

  /** The caller went away before it was answered. */
  callerGone(): void {
    if (this.#done || this.#joined !== undefined) return;
    this.#dial?.cancel();
    this.#finish();
    this.#plane.report.failed(this.info, 'CONNECT', 'the client went away before the connection was made');
  }

  #denial(): { status: number; reason: string } | undefined {
    const { pod, target, remote, peer } = this.#request;
    const workload = this.#plane.snapshot.workloadByUid(pod.pod.uid);
    if (workload === undefined) return { status: 503, reason: 'the destination workload is not known here' };
    this.info.destinationWorkload = workload;
    const decision = this.#plane.authorizer.authorize(this.#plane.snapshot, workload, {
      peer,
      sourceIp: remote.address,
      destinationIp: target.address,
      destinationPort: target.port,
    });
    if (decision.audits.length > 0) this.#plane.report.audited(this.info, decision.audits);
    return decision.allowed ? undefined : { status: 401, reason: denialReason(decision) };
  }

  #dialApp(): void {
    const { pod, target, client } = this.#request;
    let fd: number;
    try {
      fd = pod.createLastHop(target.address, client);
    } catch (error) {
      return this.#refuse(503, 'CONNECT', error instanceof Error ? error.message : String(error));
    }
    this.#dial = new TcpDial(this.#plane.reactor, fd, {
      target,
      timeoutMs: this.#plane.settings.connectTimeoutMs,
      onConnected: (connected) => this.#join(connected),
      onFailed: (error) => this.#refuse(503, 'CONNECT', `the application refused: ${error.message}`),
    });
  }

  #join(connected: DialledSocket): void {
    this.#dial = undefined;
    this.#plane.report.opened(this.info);
    this.#joined = this.#caller.join(new TcpStream(connected), (error) => this.#ended(error));
  }

  #ended(error: string | undefined): void {
    if (this.#done) return;
    const { received, sent } = this.progress();
    this.#finish();
    const why = this.#cutReason ?? error;
    const flag: ResponseFlag = this.#cutReason === undefined ? '-' : 'DENY';
    this.#plane.report.closed(this.info, {
      received,
      sent,
      flag,
      ...(why === undefined ? {} : { error: why }),
    });
  }

  #refuse(status: number, flag: ResponseFlag, reason: string): void {
    if (this.#done) return;
    this.#dial?.cancel();
    this.#finish();
    this.#caller.refuse(status, reason);
    this.#plane.report.failed(this.info, flag, reason);
  }

  #finish(): void {
    this.#done = true;
    this.#plane.connections.delete(this);
    this.#plane.connectionEnded(this.pod);
  }
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

  join(app: TcpStream, onEnd: (error: string | undefined) => void): JoinedConnection {
    const { reactor, budget, settings } = this.#plane;
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

  refuse(status: number, reason: string): void {
    this.#request.reject(status, reason);
    this.#tunnel.streamEnded();
  }

  announceCut(reason: string): void {
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

  join(app: TcpStream, onEnd: (error: string | undefined) => void): JoinedConnection {
    const { reactor, budget, settings } = this.#plane;
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

  announceCut(): void {}
}
