// Which connections of a captured pod may go to other pods of this node without the proxy: pure, from one snapshot. It
// is never more than the proxy at both ends would let through, and less wherever the proxy does more than pass bytes
// (waypoints, AUDIT policies, settings of a TrafficPolicy, a choice among endpoints that are not all of this node).

import type { Authorizer } from '../mesh/authz/authorizer.ts';
import type { Decision } from '../mesh/authz/policy-set.ts';
import { type EndpointTarget, endpointTarget } from '../mesh/balance/endpoint-list.ts';
import { dependsOnPlace, samePlace } from '../mesh/balance/locality.ts';
import { type IpAddress, isIpv6, isLoopback } from '../mesh/model/ip-address.ts';
import type { NodePod } from '../mesh/model/node-pod.ts';
import type { Service } from '../mesh/model/service.ts';
import { type Identity, identityOf } from '../mesh/model/spiffe-id.ts';
import type { Workload, WorkloadUid } from '../mesh/model/workload.ts';
import type { Snapshot } from '../mesh/state/snapshot.ts';
import { isMeshPort, ports } from './ports.ts';
import { type Destination, resolve } from './resolve.ts';

/** A captured pod of this node, in the one network namespace it was captured in. */
export interface LocalPod {
  readonly pod: NodePod;
  readonly netnsCookie: bigint;
  readonly netnsPath: string;
}

export interface DirectEndpoint {
  readonly uid: WorkloadUid;
  readonly netnsCookie: bigint;
  readonly address: IpAddress;
  readonly port: number;
}

export type DirectVerdict =
  | {
      readonly kind: 'direct';
      readonly service: Service | undefined;
      /** 1 to 8; the kernel may take any of them. */
      readonly endpoints: readonly DirectEndpoint[];
    }
  | { readonly kind: 'proxy'; readonly reason: string };

export interface DirectQuestion {
  readonly source: LocalPod;
  /** As the application names it. */
  readonly destination: Destination;
  /** Captured on this node now. */
  readonly pods: ReadonlyMap<WorkloadUid, LocalPod>;
}

const maxEndpoints = 8;
const dnsPort = 53;

export function decideDirect(
  snapshot: Snapshot,
  authorizer: Authorizer,
  question: DirectQuestion,
): DirectVerdict {
  const { source, destination } = question;
  const workload = snapshot.workloadByUid(source.pod.uid);
  if (snapshot.meshConfig.sameNode !== 'kernel') return proxied('MeshConfig says so');
  if (isSwitchedOff(snapshot, source.pod.uid)) return proxied('the source is switched off by its label');
  if (workload === undefined) return proxied('the source is not known');
  if (destination.port === dnsPort || isLoopback(destination.address))
    return proxied('the proxy itself answers there');
  const resolution = resolve(snapshot, { source: workload, destination, random: () => 0 });
  const asker = { snapshot, authorizer, question, workload };
  switch (resolution.kind) {
    case 'service':
      return forService(asker, resolution.service);
    case 'workload':
      return forWorkload(asker, resolution.workload);
    case 'waypoint':
    case 'passthrough':
    case 'refused':
      return proxied(`resolved as ${resolution.kind}`);
  }
}

/** What policies say about an open flow. Whether they would be audited is not asked again. */
export function decideFlow(
  snapshot: Snapshot,
  authorizer: Authorizer,
  flow: {
    readonly peer: Identity;
    readonly sourceIp: IpAddress;
    readonly destination: WorkloadUid;
    readonly target: Destination;
  },
): Decision | undefined {
  const workload = snapshot.workloadByUid(flow.destination);
  if (workload === undefined) return undefined;
  return authorizer.authorize(snapshot, workload, {
    peer: flow.peer,
    sourceIp: flow.sourceIp,
    destinationIp: flow.target.address,
    destinationPort: flow.target.port,
  });
}

interface Asker {
  readonly snapshot: Snapshot;
  readonly authorizer: Authorizer;
  readonly question: DirectQuestion;
  readonly workload: Workload;
}

function forService(asker: Asker, service: Service): DirectVerdict {
  const { snapshot, question, workload: source } = asker;
  const { address, port } = question.destination;
  if (service.waypoint !== undefined || service.weightedWaypoints.length > 0)
    return proxied('the service has a waypoint');
  if (service.trafficPolicy !== undefined) return proxied('the service has a TrafficPolicy');
  const family = isIpv6(address) ? 6 : 4;
  const anyHealth = service.loadBalancing.healthPolicy === 'allow-all';
  const targets: EndpointTarget[] = [];
  for (const endpoint of snapshot.endpointsOf(service.key)) {
    const target = endpointTarget(endpoint, { source, service, servicePort: port, family });
    if (target !== undefined && (anyHealth || endpoint.health === 'healthy')) targets.push(target);
  }
  const first = targets[0];
  if (first === undefined || targets.length > maxEndpoints)
    return proxied(`${targets.length} endpoints, 1 to ${maxEndpoints} are possible`);
  const placed = dependsOnPlace(service.loadBalancing);
  const endpoints: DirectEndpoint[] = [];
  for (const { workload, address: at, port: target } of targets) {
    if (workload.capacity !== first.workload.capacity) return proxied('endpoints of different weight');
    if (placed && !samePlace(source, workload)) return proxied('endpoints of different places');
    const endpoint =
      at === undefined ? undefined : directEndpoint(asker, workload, { address: at, port: target });
    if (endpoint === undefined) return proxied(`not every endpoint: ${workload.name}`);
    endpoints.push(endpoint);
  }
  return { kind: 'direct', service, endpoints };
}

function forWorkload(asker: Asker, workload: Workload): DirectVerdict {
  const endpoint = directEndpoint(asker, workload, asker.question.destination);
  return endpoint === undefined
    ? proxied(`not allowed past the proxy: ${workload.name}`)
    : { kind: 'direct', service: undefined, endpoints: [endpoint] };
}

function directEndpoint(asker: Asker, workload: Workload, target: Destination): DirectEndpoint | undefined {
  const { snapshot, authorizer, question } = asker;
  const { source, destination, pods } = question;
  const { uid } = workload;
  const local = pods.get(uid);
  const peer = identityOf(source.pod);
  const sourceIp = source.pod.addresses.find((address) => isIpv6(address) === isIpv6(target.address));
  if (local === undefined || uid === source.pod.uid || sourceIp === undefined) return undefined;
  if (isIpv6(target.address) !== isIpv6(destination.address)) return undefined;
  if (!local.pod.addresses.includes(target.address) || isSwitchedOff(snapshot, uid)) return undefined;
  if (!isPlainMeshPod(workload) || isMeshPort(target.port) || target.port === ports.dns) return undefined;
  const decision = decideFlow(snapshot, authorizer, { peer, sourceIp, destination: uid, target });
  if (decision === undefined || !decision.allowed || decision.audits.length > 0) return undefined;
  return { uid, netnsCookie: local.netnsCookie, ...target };
}

/** Its proxy would do nothing but pass bytes to the application. */
function isPlainMeshPod({ tunnelProtocol, networkMode, waypoint, applicationTunnel }: Workload): boolean {
  return (
    tunnelProtocol === 'hbone' &&
    networkMode === 'standard' &&
    waypoint === undefined &&
    applicationTunnel === undefined
  );
}

function isSwitchedOff(snapshot: Snapshot, uid: WorkloadUid): boolean {
  return snapshot.podByUid(uid)?.sameNode === 'proxy';
}

function proxied(reason: string): DirectVerdict {
  return { kind: 'proxy', reason };
}
