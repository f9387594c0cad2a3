// What a client asked for: the CONNECT authority becomes a Service and its port, or a workload. Pure. Invariant: only
// what names this gateway as its waypoint is served, so that nobody can use the waypoint's identity to get elsewhere.

import type { Authority } from '../../mesh/hbone/authority.ts';
import type { IpAddress } from '../../mesh/model/ip-address.ts';
import type { GatewayKey } from '../../mesh/model/routing.ts';
import type { Service } from '../../mesh/model/service.ts';
import type { GatewayAddress, Workload } from '../../mesh/model/workload.ts';
import type { Snapshot } from '../../mesh/state/snapshot.ts';

export type Classified =
  | {
      readonly kind: 'service';
      readonly service: Service;
      readonly port: number;
      /** What was asked for, or the service's first address for a hostname. */
      readonly destination: IpAddress;
    }
  | {
      readonly kind: 'workload';
      readonly workload: Workload;
      readonly port: number;
      readonly destination: IpAddress;
    }
  | { readonly kind: 'refused'; readonly status: 404 | 503; readonly reason: string };

export interface ClassifyContext {
  readonly gateway: GatewayKey;
  /** Network of the waypoint: addresses mean what they mean there. */
  readonly network: string;
  /** By the client's identity; scopes which services it can see. */
  readonly clientNamespace: string;
}

/** 404: not served here, whoever asks; 503: not known here yet, another instance may know it. */
export function classify(snapshot: Snapshot, authority: Authority, context: ClassifyContext): Classified {
  const { port } = authority;
  const { network, clientNamespace } = context;
  if (authority.kind === 'hostname') {
    const service = snapshot.serviceForHostname(authority.hostname, clientNamespace);
    if (service === undefined) return refused(503, `no service is called ${authority.hostname}`);
    const own = service.addresses.find((address) => address.network === network) ?? service.addresses[0];
    return serviceTarget(snapshot, { service, port, destination: own?.address ?? noAddress }, context);
  }
  const { address } = authority;
  const service = snapshot.serviceForAddress(network, address, clientNamespace);
  if (service !== undefined) return serviceTarget(snapshot, { service, port, destination: address }, context);
  const workload = snapshot.workloadByAddress(network, address);
  if (workload === undefined)
    return refused(503, `no service or workload is known here by the address ${address}`);
  if (!namesGateway(snapshot, workload.waypoint, context.gateway))
    return refused(404, `workload ${workload.namespace}/${workload.name} is not served by this waypoint`);
  return { kind: 'workload', workload, port, destination: address };
}

/** True if `waypoint` leads to the gateway: by its host name `<name>.<namespace>.svc.…`, or by an address of it. */
export function namesGateway(
  snapshot: Snapshot,
  waypoint: GatewayAddress | undefined,
  gateway: GatewayKey,
): boolean {
  if (waypoint === undefined) return false;
  const { destination } = waypoint;
  const slash = gateway.indexOf('/');
  const namespace = gateway.slice(0, slash);
  const name = gateway.slice(slash + 1);
  if (destination.kind === 'hostname')
    return (
      destination.namespace === namespace && destination.hostname.startsWith(`${name}.${namespace}.svc.`)
    );
  const { address, network } = destination;
  if (snapshot.waypoints.get(gateway)?.addresses.includes(address) === true) return true;
  const own = snapshot.servicesByAddress(network, address);
  return own.some(
    (service) => service.namespace === namespace && service.hostname.startsWith(`${name}.${namespace}.svc.`),
  );
}

/** True if the service is to be served by the gateway. */
export function servesService(snapshot: Snapshot, service: Service, gateway: GatewayKey): boolean {
  return (
    namesGateway(snapshot, service.waypoint, gateway) ||
    service.weightedWaypoints.some(({ destination }) => namesGateway(snapshot, destination, gateway))
  );
}

const noAddress = '0.0.0.0' as IpAddress;

function serviceTarget(
  snapshot: Snapshot,
  target: { readonly service: Service; readonly port: number; readonly destination: IpAddress },
  context: ClassifyContext,
): Classified {
  const { service, port } = target;
  if (!servesService(snapshot, service, context.gateway))
    return refused(404, `service ${service.key} is not served by this waypoint`);
  if (!service.ports.some(({ servicePort }) => servicePort === port))
    return refused(404, `service ${service.key} has no port ${port}`);
  return { kind: 'service', ...target };
}

function refused(status: 404 | 503, reason: string): Classified {
  return { kind: 'refused', status, reason };
}
