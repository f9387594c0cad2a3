// A CONNECT that arrived in a tunnel becomes an inbound connection: method, authority and destination are checked here,
// with the statuses of WIRE 1.5, before anything else looks at it.

import type { IncomingConnect } from '../mesh/hbone/server-tunnel.ts';
import { parseAuthority } from '../mesh/hbone/authority.ts';
import { parseBaggage, parseForwarded, type Forwarded } from '../mesh/hbone/metadata.ts';
import { headerValue } from '../mesh/h2/header.ts';
import type { SocketAddress } from '../mesh/io/socket-address.ts';
import { formatHostPort } from '../mesh/model/ip-address.ts';
import { formatSpiffeId, type Identity } from '../mesh/model/spiffe-id.ts';
import type { CapturedPod } from './captured-pod.ts';
import type { ConnectionInfo } from './connection-info.ts';
import type { DataPlane } from './data-plane.ts';
import { InboundConnection, TunnelCaller } from './inbound.ts';

export function acceptTunnelRequest(plane: DataPlane, pod: CapturedPod, request: IncomingConnect): void {
  const { peer, options } = request.tunnel;
  const forwarded = parseForwarded(headerValue(request.headers, 'forwarded') ?? '');
  const target = checkedTarget(request, options.local);
  const info = inboundInfo(plane, {
    pod,
    remote: options.remote,
    target: typeof target === 'string' ? options.local : target,
    peer,
  });
  describe(info, request, forwarded);
  if (typeof target === 'string') {
    request.reject(400, target);
    plane.report.failed(info, 'CONNECT', target);
    return;
  }
  const connection = new InboundConnection(
    plane,
    { pod, target, remote: options.remote, forwardedFor: forwarded.source, peer, info },
    new TunnelCaller(plane, request),
  );
  request.onGone(() => connection.callerGone());
  connection.start();
}

/** What is known of an inbound connection at once; the destination workload follows with its authorisation. */
export function inboundInfo(
  plane: DataPlane,
  about: { pod: CapturedPod; remote: SocketAddress; target: SocketAddress; peer: Identity | undefined },
): ConnectionInfo {
  const { pod, remote, target, peer } = about;
  const snapshot = plane.snapshot;
  const destination = snapshot.workloadByUid(pod.pod.uid);
  return {
    direction: 'inbound',
    startedAt: plane.clock.now(),
    sourceAddress: remote.address,
    sourcePort: remote.port,
    sourceWorkload: snapshot.workloadByAddress(destination?.network ?? '', remote.address),
    sourceLabels: undefined,
    sourceIdentity: peer === undefined ? undefined : formatSpiffeId(peer),
    destinationAddress: target.address,
    destinationPort: target.port,
    hboneAuthority: undefined,
    destinationWorkload: destination,
    destinationService: undefined,
    destinationServiceName: undefined,
    destinationIdentity: peer === undefined ? undefined : pod.spiffeId,
    mutualTls: peer !== undefined,
  };
}

/** The target, or the reason to answer 400. The tunnel leads to this pod only: nobody may ask for another one's address. */
function checkedTarget(request: IncomingConnect, local: SocketAddress): SocketAddress | string {
  if (!request.isConnect) return `method ${headerValue(request.headers, ':method') ?? ''} is not CONNECT`;
  const authority = parseAuthority(request.authority);
  if (authority === undefined) return 'the authority is not ip:port';
  if (authority.kind === 'hostname') return `hostname authority ${authority.hostname} is not served here`;
  if (authority.address !== local.address) {
    return `authority ${formatHostPort(authority.address, authority.port)} is not the pod this tunnel leads to`;
  }
  return { address: authority.address, port: authority.port };
}

function describe(info: ConnectionInfo, request: IncomingConnect, forwarded: Forwarded): void {
  info.hboneAuthority = request.authority.slice(0, 300);
  info.destinationServiceName = forwarded.host;
  if (info.sourceWorkload === undefined) {
    const baggage = headerValue(request.headers, 'baggage');
    if (baggage !== undefined) info.sourceLabels = parseBaggage(baggage);
  }
}
