// One attempt to reach one destination: through a tunnel when the destination is in the mesh, over plain TCP when it is
// not. Says only whether it worked and whether another attempt is safe; choosing where to go is the caller's business.

import type { ConnectRequest } from '../mesh/hbone/client-tunnel.ts';
import type { TunnelRoute } from '../mesh/hbone/pool.ts';
import { formatBaggage, formatForwarded, newTraceparent } from '../mesh/hbone/metadata.ts';
import type { H2Session } from '../mesh/h2/session.ts';
import type { H2Stream, StreamHandler } from '../mesh/h2/stream.ts';
import { IoError } from '../mesh/io/io-error.ts';
import type { SocketAddress } from '../mesh/io/socket-address.ts';
import { type DialledSocket, TcpDial } from '../mesh/io/tcp-dial.ts';
import { formatHostPort } from '../mesh/model/ip-address.ts';
import type { Service } from '../mesh/model/service.ts';
import { formatSpiffeId, identityOf, type Identity, type SpiffeId } from '../mesh/model/spiffe-id.ts';
import type { Workload } from '../mesh/model/workload.ts';
import type { CapturedPod } from './captured-pod.ts';
import type { DataPlane } from './data-plane.ts';
import { connectError, type DialError, dialErrorOf } from './dial-error.ts';
import { ports } from './ports.ts';

export interface DialTarget {
  /** The application's; of a waypoint the port that its tunnels end at. */
  readonly address: SocketAddress;
  /** Undefined for a destination outside the mesh's knowledge. */
  readonly workload: Workload | undefined;
  /** That the workload was chosen from. */
  readonly service: Service | undefined;
  /** Set where `workload` is a waypoint. */
  readonly behind?: BehindWaypoint;
}

/** What a waypoint is asked for: the destination as the application wanted it, untranslated. */
export interface BehindWaypoint {
  readonly authority: SocketAddress;
  readonly service: Service | undefined;
}

export interface DialContext {
  readonly pod: CapturedPod;
  readonly source: Workload;
  readonly client: SocketAddress;
  readonly timeoutMs: number;
}

export interface DialHandler {
  /** The stream is open; returns what gets the bytes. */
  onTunnel(tunnel: {
    session: H2Session;
    stream: H2Stream;
    peer: Identity | undefined;
    /** The dial waited for a tunnel that others will share. */
    setUp: boolean;
    reason: (id: number) => string | undefined;
    ended: () => void;
  }): StreamHandler;
  onPlain(connected: DialledSocket): void;
  onFailed(failure: DialError): void;
}

export interface PendingDial {
  cancel(): void;
}

/** The workload whose tunnel the connection goes through; undefined for plain TCP. A waypoint has nothing else. */
export function tunnelEnd({ workload, behind }: DialTarget): Workload | undefined {
  return behind !== undefined || workload?.tunnelProtocol === 'hbone' ? workload : undefined;
}

/** Exactly one callback of `handler` follows, never from inside this call, unless the dial is cancelled. */
export function dial(
  plane: DataPlane,
  target: DialTarget,
  context: DialContext,
  handler: DialHandler,
): PendingDial {
  try {
    const workload = tunnelEnd(target);
    return workload === undefined
      ? dialPlain(plane, target, context, handler)
      : dialTunnel(plane, target, workload, context, handler);
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    const timer = plane.reactor.after(0, () => handler.onFailed(connectError(message, { retryable: false })));
    return timer;
  }
}

function dialPlain(
  plane: DataPlane,
  target: DialTarget,
  context: DialContext,
  handler: DialHandler,
): PendingDial {
  const fd = context.pod.createSocket(target.address.address);
  return new TcpDial(plane.reactor, fd, {
    target: target.address,
    timeoutMs: context.timeoutMs,
    onConnected: (connected) => handler.onPlain(connected),
    onFailed: (error) => handler.onFailed(connectError(error.message, { retryable: true })),
  });
}

interface KnownRoute {
  readonly route: TunnelRoute;
  readonly service: Service | undefined;
}

/** The latest route from a pod to a workload, both as they are: the same object for the pool to find its tunnel by. */
const routes = new WeakMap<CapturedPod, WeakMap<Workload, KnownRoute>>();

function routeTo(pod: CapturedPod, target: DialTarget, workload: Workload): TunnelRoute {
  const { service, behind } = target;
  const { address } = target.address;
  const port = behind === undefined ? ports.hbone : target.address.port;
  let ofPod = routes.get(pod);
  if (ofPod === undefined) routes.set(pod, (ofPod = new WeakMap()));
  const known = ofPod.get(workload);
  if (
    known !== undefined &&
    known.service === service &&
    known.route.target.address === address &&
    known.route.target.port === port
  )
    return known.route;
  const route: TunnelRoute = {
    source: pod.spiffeId,
    sourceAddress: pod.addressToward(address),
    target: { address, port },
    expected: [
      formatSpiffeId(identityOf(workload)),
      ...((service?.subjectAltNames ?? []) as readonly SpiffeId[]),
    ],
  };
  ofPod.set(workload, { route, service });
  return route;
}

function dialTunnel(
  plane: DataPlane,
  target: DialTarget,
  workload: Workload,
  context: DialContext,
  handler: DialHandler,
): PendingDial {
  const { pod, source, client } = context;
  const tls = plane.certificates.get(pod.spiffeId);
  if (tls === undefined)
    throw new IoError('tls-credentials-invalid', `No certificate for ${pod.spiffeId} yet`);
  const { behind } = target;
  const { address } = target.address;
  const authority = behind?.authority ?? target.address;
  const service = behind === undefined ? target.service : behind.service;
  const route = routeTo(pod, target, workload);
  const make = {
    context: tls.client,
    createSocket: () => pod.createSocket(address),
    connectTimeoutMs: context.timeoutMs,
    handshakeTimeoutMs: plane.settings.handshakeTimeoutMs,
  };
  const headers = [
    [':method', 'CONNECT'],
    [':authority', formatHostPort(authority.address, authority.port)],
    ['baggage', formatBaggage(source)],
    ['forwarded', formatForwarded(client, service?.hostname)],
    ['traceparent', newTraceparent()],
  ] as const;
  let reused = false;
  const request: ConnectRequest = plane.pool.connect(route, make, headers, {
    onConnected: (stream, session, peer) =>
      handler.onTunnel({
        session,
        stream,
        peer,
        setUp: !reused,
        reason: (id) => request.tunnel.takeReason(id),
        ended: () => request.tunnel.streamEnded(),
      }),
    onFailed: (error) => handler.onFailed(dialErrorOf(error, { reused })),
  });
  reused = request.tunnel.reused;
  return request;
}
