// One captured outbound connection: original destination -> resolve -> pick an endpoint -> dial -> splice -> record.
// As long as no byte was sent, a failed dial tries another endpoint; nothing is read from the application before that.
// An endpoint is one of the Service that was asked for, or of the waypoint in front of the destination.

import type { SpliceEnd } from '../mesh/hbone/splice.ts';
import { TunnelSplice } from '../mesh/hbone/splice.ts';
import type { StreamHandler } from '../mesh/h2/stream.ts';
import type { SocketAddress } from '../mesh/io/socket-address.ts';
import type { DialledSocket } from '../mesh/io/tcp-dial.ts';
import { TcpSplice } from '../mesh/io/tcp-splice.ts';
import { TcpStream } from '../mesh/io/tcp-stream.ts';
import { formatHostPort, isIpv6 } from '../mesh/model/ip-address.ts';
import { formatSpiffeId } from '../mesh/model/spiffe-id.ts';
import type { Service } from '../mesh/model/service.ts';
import type { Workload, WorkloadUid } from '../mesh/model/workload.ts';
import type { Timer } from '../mesh/runtime/clock.ts';
import type { DialFailure, PickHandle } from '../mesh/balance/balancer.ts';
import type { CapturedPod } from './captured-pod.ts';
import type { ConnectionInfo, ResponseFlag } from './connection-info.ts';
import type { TrackedConnection } from './connection-table.ts';
import type { DataPlane } from './data-plane.ts';
import {
  type BehindWaypoint,
  type DialHandler,
  type DialTarget,
  dial,
  type PendingDial,
  tunnelEnd,
} from './dial.ts';
import { connectError, type DialError, flagOf } from './dial-error.ts';
import { chooseAddress } from '../mesh/proxy/hostname-requests.ts';
import { ports } from './ports.ts';
import { type Destination, type Resolution, resolve } from './resolve.ts';
import { SelfProbeAnswer } from './self-probe-answer.ts';
import { isSelfProbe } from './self-probe-proof.ts';
import type { WaypointLocation } from './waypoint.ts';

const defaultDialAttempts = 3;
/** A destination that entered the mesh this recently may not listen yet: wait for it instead of failing. */
const joiningGraceMs = 5_000;
const joiningRetryMs = 50;
/** A node tunnel that ended starts again within this time, as a rule: until then connections to its pods wait for it. */
const awayGraceMs = 5_000;
const awayRetryMs = 200;
/** The other side knew before this one that a waypoint came or went: told together, they hear of it within moments. */
const outdatedRetryMs = [20, 80, 300, 600, 1_000];

const none: ReadonlySet<WorkloadUid> = new Set();

/** What endpoints are picked from. */
interface Choice {
  readonly service: Service;
  readonly port: number;
  readonly behind: BehindWaypoint | undefined;
}

export class OutboundConnection implements TrackedConnection, DialHandler {
  readonly pod: CapturedPod;
  readonly info: ConnectionInfo;
  place = -1;
  #plane: DataPlane;
  #app: TcpStream;
  #source!: Workload;
  #destination!: Destination;
  #choice: Choice | undefined;
  #dial: PendingDial | undefined;
  #retry: Timer | undefined;
  #handle: PickHandle | undefined;
  #splice: TunnelSplice | TcpSplice | undefined;
  #target!: DialTarget;
  #tried: Set<WorkloadUid> | undefined;
  #attempts = 0;
  #staleRetried = false;
  #outdatedRetries = 0;
  #awayUntil: number | undefined;
  #dialStartedAt = 0;
  #cutReason: string | undefined;
  #tunnelReason: (() => string | undefined) | undefined;
  #tunnelEnded: (() => void) | undefined;
  #done = false;

  /** Takes ownership of `fd`, accepted by the pod's outbound listener. */
  constructor(plane: DataPlane, pod: CapturedPod, fd: number, client: SocketAddress) {
    this.#plane = plane;
    this.pod = pod;
    this.#app = new TcpStream(fd);
    this.info = {
      direction: 'outbound',
      startedAt: plane.clock.now(),
      sourceAddress: client.address,
      sourcePort: client.port,
      sourceWorkload: undefined,
      sourceLabels: undefined,
      sourceIdentity: pod.spiffeId,
      destinationAddress: client.address,
      destinationPort: 0,
      hboneAuthority: undefined,
      destinationWorkload: undefined,
      destinationService: undefined,
      destinationServiceName: undefined,
      destinationIdentity: undefined,
      mutualTls: false,
      counted: undefined,
    };
    plane.connections.add(this);
  }

  start(): void {
    const plane = this.#plane;
    this.#app.guard(plane.reactor, () => this.#appGone());
    const destination = plane.flowMaps.originalDestination(this.#app.fd);
    if (destination === undefined)
      return this.#refuse('the connection was not captured: somebody dialled the proxy itself', 'CONNECT');
    if (isSelfProbe(destination)) return this.#answerSelfProbe();
    this.#destination = destination;
    this.info.destinationAddress = destination.address;
    this.info.destinationPort = destination.port;
    const source = plane.snapshot.clientByUid(this.pod.pod.uid);
    if (source === undefined) return this.#refuse('the source workload is not known yet', 'CONNECT');
    this.#source = source;
    this.info.sourceWorkload = source;
    this.#resolve();
  }

  recheck(): void {}

  /** Asks nothing of the mesh: nothing to resolve, nothing to report. */
  #answerSelfProbe(): void {
    new SelfProbeAnswer(this.#plane.reactor, this.#app, {
      proof: (nonce) => this.#plane.answerSelfProbe(this.pod, nonce),
      onEnd: () => {
        if (!this.#done) this.#finish();
      },
    });
  }

  cut(reason: string): void {
    if (this.#done) return;
    this.#cutReason = reason;
    if (this.#splice !== undefined) return this.#splice.close();
    this.#refuse(reason, 'CONNECT');
  }

  progress = (): { received: number; sent: number } => {
    const splice = this.#splice;
    if (splice === undefined) return { received: 0, sent: 0 };
    return splice instanceof TunnelSplice
      ? { received: splice.fromApp, sent: splice.toApp }
      : { received: splice.forwardBytes, sent: splice.backwardBytes };
  };

  onTunnel(tunnel: Parameters<DialHandler['onTunnel']>[0]): StreamHandler {
    this.#connected(tunnel);
    this.info.destinationIdentity = tunnel.peer === undefined ? undefined : formatSpiffeId(tunnel.peer);
    this.info.mutualTls = true;
    this.#tunnelReason = () => tunnel.reason(tunnel.stream.id);
    this.#tunnelEnded = tunnel.ended;
    const splice = new TunnelSplice(this.#plane.reactor, this.#app, tunnel, {
      ...this.#spliceOptions(),
      onEnd: (end) => this.#spliceEnded(end),
    });
    this.#splice = splice;
    this.#plane.report.opened(this.info);
    this.#proven();
    return splice;
  }

  onPlain(connected: DialledSocket): void {
    this.#connected({ setUp: false });
    this.#splice = new TcpSplice(this.#plane.reactor, this.#app, new TcpStream(connected), {
      ...this.#spliceOptions(),
      onEnd: (end) => this.#spliceEnded(end === 'reset' ? 'app-reset' : end),
    });
    this.#plane.report.opened(this.info);
  }

  onFailed(failure: DialError): void {
    this.#dial = undefined;
    if (failure.stale && !this.#staleRetried) {
      this.#staleRetried = true;
      this.#release('cancelled');
      // The endpoint may be gone with its tunnel.
      return this.#resolve();
    }
    const uid = this.#handle?.uid;
    this.#release(blameOf(failure, this.#target));
    if (sentAmiss(failure, this.#target) && this.#outdatedRetries < outdatedRetryMs.length)
      return this.#retryLater(outdatedRetryMs[this.#outdatedRetries++] as number);
    if (!failure.retryable) return this.#refuse(failure.message, flagOf(failure));
    if (this.#isJoining()) return this.#retryLater(joiningRetryMs);
    const limit = this.#choice?.service.trafficPolicy?.dialAttempts ?? defaultDialAttempts;
    if (uid === undefined || this.#attempts >= limit) return this.#giveUp(failure);
    (this.#tried ??= new Set()).add(uid);
    this.#pick(failure);
  }

  /** No endpoint could be reached. One whose node tunnel is away is worth a wait: the application need not notice. */
  #giveUp(failure: DialError): void {
    const { now } = this.#plane.reactor;
    this.#awayUntil ??= now + awayGraceMs;
    if (!failure.away || now >= this.#awayUntil) return this.#refuse(failure.message, flagOf(failure));
    this.#tried = undefined;
    this.#attempts = 0;
    this.#retryLater(awayRetryMs);
  }

  /** Between two pods of this node, and the other end has admitted it: the kernel may carry the next one. */
  #proven(): void {
    const { workload, behind, address } = this.#target;
    if (workload === undefined || behind !== undefined || !this.#plane.isLocal(workload.uid)) return;
    this.#plane.pairs.proven({
      source: this.pod.pod.uid,
      destination: this.#destination,
      endpoint: workload.uid,
      endpointAddress: address,
    });
  }

  #resolve(): void {
    if (this.#destination.port === 53) return this.#toDnsProxy();
    this.#choice = undefined;
    this.info.destinationService = undefined;
    this.#follow(
      resolve(this.#plane.snapshot, {
        source: this.#source,
        destination: this.#destination,
        random: Math.random,
      }),
    );
  }

  #follow(resolution: Resolution): void {
    const { address, port } = this.#destination;
    switch (resolution.kind) {
      case 'refused':
        return this.#refuse(resolution.reason, resolution.flag);
      case 'service':
        this.info.destinationService = resolution.service;
        this.#choice = { service: resolution.service, port, behind: undefined };
        return this.#pick(undefined);
      case 'waypoint':
        this.info.destinationService = resolution.service;
        return this.#toWaypoint(resolution.waypoint, {
          authority: { address, port },
          service: resolution.service,
        });
      case 'workload':
        return this.#dialTarget({
          address: { address, port },
          workload: resolution.workload,
          service: undefined,
        });
      case 'passthrough':
        return this.#dialTarget({ address: { address, port }, workload: undefined, service: undefined });
    }
  }

  #toWaypoint(waypoint: WaypointLocation, behind: BehindWaypoint): void {
    const { port } = waypoint;
    if (waypoint.kind === 'service') {
      this.#choice = { service: waypoint.service, port, behind };
      return this.#pick(undefined);
    }
    const { address, workload } = waypoint;
    this.#dialTarget({ address: { address, port }, workload, service: undefined, behind });
  }

  // DNS over TCP is answered by the same resolver as over UDP.
  #toDnsProxy(): void {
    const address = this.pod.addressToward(this.#destination.address);
    this.#dialTarget({ address: { address, port: ports.dns }, workload: undefined, service: undefined });
  }

  #pick(previous: DialError | undefined): void {
    if (this.#choice === undefined) return;
    const { service, port: servicePort } = this.#choice;
    const result = this.#plane.balancer.pick(this.#plane.snapshot, {
      source: this.#source,
      service,
      servicePort,
      family: isIpv6(this.#destination.address) ? 6 : 4,
      excluded: this.#tried ?? none,
      // A connection may carry requests for hours: their number counts, not which pod is the nearest.
      ...(this.#choice.behind && { defaultBalancing: 'least-connections' }),
    });
    if (result.kind === 'none') {
      if (previous !== undefined) return this.#giveUp(previous);
      return this.#refuse(result.message, result.reason === 'circuit-open' ? 'UH' : 'CONNECT');
    }
    const { workload, address, port } = result.endpoint;
    this.#handle = result.handle;
    this.#plane.balancer.begin(result.handle);
    const target = { workload, service, ...(this.#choice.behind && { behind: this.#choice.behind }) };
    if (address === undefined) return this.#lookUp(target, port);
    this.#dialTarget({ address: { address, port }, ...target });
  }

  /** An endpoint that is written as a name; a name that leads nowhere counts as a failed dial. */
  #lookUp(endpoint: Omit<DialTarget, 'address'> & { readonly workload: Workload }, port: number): void {
    const { hostname, name } = endpoint.workload;
    if (hostname === '') return this.#refuse(`endpoint ${name} has no address and no hostname`, 'CONNECT');
    const { address: dialled } = this.#destination;
    this.#dial = this.#plane.hostnames.request(hostname, (answer) => {
      const family = isIpv6(dialled) ? 6 : 4;
      const addresses = answer.kind === 'addresses' ? answer.addresses : [];
      const address = chooseAddress(addresses, { family, random: Math.random });
      if (address !== undefined) return this.#dialTarget({ address: { address, port }, ...endpoint });
      const reason = answer.kind === 'failed' ? answer.reason : 'no address';
      const message = `Looking up the endpoint "${hostname}" failed: ${reason}`;
      this.#target = { address: { address: dialled, port }, ...endpoint };
      this.#attempts++;
      this.onFailed(connectError(message, { retryable: true }));
    });
  }

  #dialTarget(target: DialTarget): void {
    this.#target = target;
    this.#attempts++;
    this.#dialStartedAt = this.#plane.reactor.now;
    const { address, port } = target.address;
    const asked = target.behind?.authority ?? target.address;
    const tunnelled = tunnelEnd(target) !== undefined;
    this.info.destinationWorkload = target.workload;
    this.info.destinationAddress = address;
    this.info.destinationPort = tunnelled && target.behind === undefined ? ports.hbone : port;
    this.info.hboneAuthority = tunnelled ? formatHostPort(asked.address, asked.port) : undefined;
    const context = {
      pod: this.pod,
      source: this.#source,
      client: { address: this.info.sourceAddress, port: this.info.sourcePort },
      timeoutMs: target.service?.trafficPolicy?.connectTimeoutMs ?? this.#plane.settings.connectTimeoutMs,
    };
    this.#dial = dial(this.#plane, target, context, this);
  }

  #isJoining(): boolean {
    const workload = this.#target.workload;
    return workload !== undefined && this.#plane.joinedWithin(workload.uid, joiningGraceMs);
  }

  #retryLater(delayMs: number): void {
    this.#retry = this.#plane.reactor.after(delayMs, () => {
      this.#retry = undefined;
      this.#resolve();
    });
  }

  /** Reset by the application before anything answered it. */
  #appGone(): void {
    this.#refuse('the client went away before the connection was made', 'CONNECT');
  }

  #release(failure: DialFailure): void {
    const handle = this.#handle;
    this.#handle = undefined;
    if (handle !== undefined) this.#plane.balancer.failed(handle, failure);
  }

  #connected({ setUp }: { readonly setUp: boolean }): void {
    this.#dial = undefined;
    if (this.#handle === undefined) return;
    const durationMs = this.#plane.reactor.now - this.#dialStartedAt;
    this.#plane.balancer.connected(this.#handle, durationMs, { setUp });
  }

  #spliceOptions() {
    const { settings } = this.#plane;
    return {
      budget: this.pod.budget,
      idleTimeoutMs: this.info.destinationService?.trafficPolicy?.idleTimeoutMs ?? settings.idleTimeoutMs,
      halfClosedTimeoutMs: settings.halfClosedTimeoutMs,
    };
  }

  #spliceEnded(end: SpliceEnd): void {
    if (this.#done) return;
    const reason = this.#cutReason ?? this.#tunnelReason?.();
    const { received, sent } = this.progress();
    const denied = reason !== undefined && this.#cutReason === undefined;
    this.#finish();
    this.#tunnelEnded?.();
    const error = end === 'finished' ? undefined : (reason ?? endText(end));
    this.#plane.report.closed(this.info, {
      received,
      sent,
      flag: denied ? 'DENY' : '-',
      ...(error === undefined ? {} : { error }),
    });
  }

  #refuse(reason: string, flag: ResponseFlag): void {
    if (this.#done) return;
    this.#dial?.cancel();
    this.#app.reset();
    this.#finish();
    this.#plane.report.failed(this.info, flag, reason);
  }

  #finish(): void {
    this.#done = true;
    this.#retry?.cancel();
    if (this.#handle !== undefined) this.#plane.balancer.closed(this.#handle);
    this.#plane.connections.delete(this);
    this.#plane.connectionEnded(this.pod);
  }
}

/** Not to the waypoint that the destination has, or to one that does not serve the destination (any more). */
function sentAmiss({ waypointRequired, status }: DialError, { behind }: DialTarget): boolean {
  return waypointRequired || (behind !== undefined && status === 404);
}

/** What a failure says about the endpoint. A waypoint that answers is well, whatever it says of what is behind it. */
function blameOf({ kind, answered }: DialError, { behind }: DialTarget): DialFailure {
  if (kind === 'denied' || (answered && behind !== undefined)) return 'denied';
  return kind === 'connect' ? 'connect' : 'tunnel';
}

export function endText(end: SpliceEnd): string {
  switch (end) {
    case 'finished':
      return '';
    case 'app-reset':
      return 'the application reset its connection';
    case 'tunnel-reset':
      return 'the other side reset the connection';
    case 'idle':
      return 'idle timeout';
    case 'overload':
      return "the pod's share of this proxy's buffers is spent by slow readers";
    case 'closed':
      return 'closed by the proxy';
  }
}
