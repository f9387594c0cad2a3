// A CONNECT that arrived in a tunnel becomes an inbound connection: method, authority and destination are checked here,
// with the statuses of WIRE 1.5, before anything else looks at it.

import type { IncomingConnect } from '../mesh/hbone/server-tunnel.ts';
import { parseAuthority } from '../mesh/hbone/authority.ts';
import { parseBaggage, parseForwarded, type Forwarded } from '../mesh/hbone/metadata.ts';
import { headerValue } from '../mesh/h2/header.ts';
import type { SocketAddress } from '../mesh/io/socket-address.ts';
import { formatHostPort, isIpv6 } from '../mesh/model/ip-address.ts';
import { formatSpiffeId, type Identity } from '../mesh/model/spiffe-id.ts';
import type { Snapshot } from '../mesh/state/snapshot.ts';
import type { CapturedPod } from './captured-pod.ts';
import type { ConnectionInfo } from './connection-info.ts';
import type { DataPlane } from './data-plane.ts';
import { InboundConnection, type InboundRequest, TunnelCaller } from './inbound.ts';

export function acceptTunnelRequest(plane: DataPlane, pod: CapturedPod, request: IncomingConnect): void {
  const { peer, options } = request.tunnel;
  const forwarded = parseForwarded(headerValue(request.headers, 'forwarded') ?? '');
  const checked = checkedTarget(plane, pod, request);
  const target = 'status' in checked ? options.local : checked.target;
  const info = inboundInfo(plane, { pod, remote: options.remote, target, peer });
  describe(info, request, forwarded);
  if ('status' in checked) {
    request.reject(checked.status, checked.reason);
    plane.report.failed(info, 'CONNECT', checked.reason);
    return;
  }
  const connection = new InboundConnection(
    plane,
    { pod, ...checked, remote: options.remote, forwardedFor: forwarded.source, peer, info },
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
    counted: undefined,
  };
}

interface Refusal {
  readonly status: 400 | 503;
  readonly reason: string;
}

/** `asked` differs from `target` where the pod stands in for others. */
type Checked = Pick<InboundRequest, 'target'> & { readonly asked: SocketAddress };

/**
 * The tunnel leads to this pod only: nobody may ask for another one's address, or for a Service that it does not serve;
 * unless it has an application tunnel, through which it stands in for others.
 */
function checkedTarget(plane: DataPlane, pod: CapturedPod, request: IncomingConnect): Checked | Refusal {
  if (!request.isConnect)
    return badRequest(`method ${headerValue(request.headers, ':method') ?? ''} is not CONNECT`);
  const { local } = request.tunnel.options;
  const authority = parseAuthority(request.authority);
  if (authority === undefined) return badRequest('the authority is not ip:port or hostname:port');
  if (authority.kind === 'hostname') return servedTarget(plane.snapshot, { pod, local, ...authority });
  const { address, port } = authority;
  const standsIn = plane.snapshot.workloadByUid(pod.pod.uid)?.applicationTunnel !== undefined;
  if (address !== local.address && !standsIn) {
    return badRequest(`authority ${formatHostPort(address, port)} is not the pod this tunnel leads to`);
  }
  return { target: { address: local.address, port }, asked: { address, port } };
}

/** A Service's port as this pod serves it (WIRE 6.2): how gateways of other networks ask, which know no pod's address. */
function servedTarget(
  snapshot: Snapshot,
  asked: {
    readonly pod: CapturedPod;
    local: SocketAddress;
    readonly hostname: string;
    readonly port: number;
  },
): Checked | Refusal {
  const { pod, local, hostname, port: servicePort } = asked;
  const service = snapshot.serviceForHostname(hostname, pod.pod.namespace);
  const mappings = service && snapshot.workloadByUid(pod.pod.uid)?.services.get(service.key);
  if (service === undefined || mappings === undefined)
    return { status: 503, reason: `pod ${pod.pod.name} is no endpoint of a service ${hostname}` };
  const ofPort = (each: { readonly servicePort: number }): boolean => each.servicePort === servicePort;
  const port = mappings.find(ofPort)?.targetPort || service.ports.find(ofPort)?.targetPort || 0;
  if (port === 0)
    return { status: 503, reason: `service ${hostname} has no port ${servicePort} at this pod` };
  const vip = service.addresses.find(({ address }) => !isIpv6(address)) ?? service.addresses[0];
  return {
    target: { address: local.address, port },
    asked: { address: vip?.address ?? local.address, port: servicePort },
  };
}

function badRequest(reason: string): Refusal {
  return { status: 400, reason };
}

function describe(info: ConnectionInfo, request: IncomingConnect, forwarded: Forwarded): void {
  info.hboneAuthority = request.authority.slice(0, 300);
  info.destinationServiceName = forwarded.host;
  if (info.sourceWorkload === undefined) {
    const baggage = headerValue(request.headers, 'baggage');
    if (baggage !== undefined) info.sourceLabels = parseBaggage(baggage);
  }
}
