// Which workloads are behind which services: by the Service's selector over pods and WorkloadEntries of its namespace,
// by EndpointSlices for a Service without a selector. Every port is resolved for each endpoint, named ones by its own
// ports, so that a node needs no rule of its own.

import { parseIpAddress } from '../../mesh/model/ip-address.ts';
import type { ServicePort } from '../../mesh/model/service.ts';
import type { PortMapping, WorkloadUid } from '../../mesh/model/workload.ts';
import type { EndpointSlice } from '../resources/core-kinds.ts';
import { objectKey, type Resources } from '../resources/resources.ts';
import type { ServiceDraft } from './service-draft.ts';
import { isEmptySelector, type Labels, selectedBy } from './selectors.ts';
import { serviceHostname } from './services.ts';
import type { StatusCollector } from './statuses.ts';
import type { WorkloadDraft } from './workload-draft.ts';

export interface EndpointsContext {
  readonly resources: Resources;
  readonly statuses: StatusCollector;
  readonly clusterId: string;
  readonly trustDomain: string;
}

const serviceNameLabel = 'kubernetes.io/service-name';

/** Joins workloads of `byNamespace` to the Kubernetes Services that select them. */
export function joinSelectedWorkloads(
  context: EndpointsContext,
  services: readonly ServiceDraft[],
  byNamespace: ReadonlyMap<string, readonly WorkloadDraft[]>,
): void {
  for (const service of services) {
    if (service.kind !== 'Service') continue;
    const { namespace, name } = service.metadata;
    const selector = context.resources.Service.get(objectKey(namespace, name))?.spec.selector;
    if (isEmptySelector(selector)) continue;
    const selected = selectedBy(selector as Labels);
    for (const workload of byNamespace.get(namespace) ?? []) {
      if (selected(workload.labels)) joinEndpoint(service, workload);
    }
  }
}

export function joinEndpoint(service: ServiceDraft, workload: WorkloadDraft): void {
  workload.services.set(service.service.key, portMappings(service, workload));
}

/** A named port the endpoint does not have is left out: the endpoint then takes no connection to that port. */
function portMappings(service: ServiceDraft, workload: WorkloadDraft): readonly PortMapping[] {
  return service.service.ports
    .map((port) => ({ servicePort: port.servicePort, targetPort: targetPortOf(service, workload, port) }))
    .filter(({ targetPort }) => targetPort !== 0);
}

function targetPortOf(service: ServiceDraft, workload: WorkloadDraft, port: ServicePort): number {
  if (workload.portNames === 'service') {
    // An endpoint without the port's name listens where the service says, or on the service's own port.
    return workload.namedPorts.get(port.name) ?? (port.targetPort || port.servicePort);
  }
  const name = service.namedTargets.get(port.servicePort);
  return name === undefined ? port.targetPort : (workload.namedPorts.get(name) ?? 0);
}

/** Joins the endpoints of EndpointSlices whose Service has no selector; addresses of no pod become workloads. */
export function joinEndpointSlices(
  context: EndpointsContext,
  services: readonly ServiceDraft[],
  workloads: readonly WorkloadDraft[],
): readonly WorkloadDraft[] {
  const byKey = new Map(services.map((service) => [service.service.key as string, service]));
  const byAddress = new Map<string, WorkloadDraft>();
  for (const workload of workloads) {
    if (workload.base.networkMode === 'host-network') continue;
    for (const address of workload.base.addresses) byAddress.set(address, workload);
  }
  const added: WorkloadDraft[] = [];
  for (const slice of context.resources.EndpointSlice.values()) {
    const service = sliceService(context, slice, byKey);
    if (service !== undefined) joinSlice(context, { slice, service, byAddress, added });
  }
  return added;
}

function sliceService(
  context: EndpointsContext,
  slice: EndpointSlice,
  byKey: ReadonlyMap<string, ServiceDraft>,
): ServiceDraft | undefined {
  const { namespace, labels } = slice.metadata;
  const name = labels[serviceNameLabel];
  if (name === undefined) {
    const message = `The label ${serviceNameLabel} is missing: it names the Service the endpoints belong to`;
    context.statuses.reject('EndpointSlice', slice.metadata, { reason: 'NoService', message });
    return undefined;
  }
  // Endpoints of a Service with a selector are computed from its pods: sooner than the slice, and never from it.
  const object = context.resources.Service.get(objectKey(namespace, name));
  if (object !== undefined && !isEmptySelector(object.spec.selector)) return undefined;
  const service = byKey.get(`${namespace}/${serviceHostname(namespace, name)}`);
  if (service === undefined) {
    const message = `Service ${namespace}/${name} does not exist`;
    context.statuses.unresolved('EndpointSlice', slice.metadata, { reason: 'ServiceNotFound', message });
  }
  return service;
}

interface SliceJoin {
  readonly slice: EndpointSlice;
  readonly service: ServiceDraft;
  readonly byAddress: Map<string, WorkloadDraft>;
  readonly added: WorkloadDraft[];
}

function joinSlice(context: EndpointsContext, { slice, service, byAddress, added }: SliceJoin): void {
  if (slice.addressType === 'FQDN') {
    const message = 'Endpoints of type FQDN are not supported: use a ServiceEntry with resolution DNS';
    context.statuses.reject('EndpointSlice', slice.metadata, { reason: 'UnsupportedAddressType', message });
    return;
  }
  const mappings = slicePorts(slice, service);
  for (const [index, endpoint] of slice.endpoints.entries()) {
    // All addresses of one endpoint are the same endpoint; consumers may use the first alone (EndpointSlice API).
    const text = endpoint.addresses[0] as string;
    const address = parseIpAddress(text);
    if (address === undefined) {
      const message = `"${text}" is not an IP address`;
      const field = ['endpoints', index, 'addresses', 0];
      context.statuses.reject('EndpointSlice', slice.metadata, { reason: 'InvalidAddress', message, field });
      continue;
    }
    let workload = byAddress.get(address);
    if (workload === undefined) {
      const ready = endpoint.conditions?.ready ?? true;
      workload = sliceWorkload(context, slice, {
        address: text,
        ready,
        node: endpoint.nodeName,
        zone: endpoint.zone,
      });
      byAddress.set(address, workload);
      added.push(workload);
    }
    const earlier = workload.services.get(service.service.key) ?? [];
    const known = new Set(earlier.map(({ servicePort }) => servicePort));
    const merged = [...earlier, ...mappings.filter(({ servicePort }) => !known.has(servicePort))];
    workload.services.set(
      service.service.key,
      merged.sort((a, b) => a.servicePort - b.servicePort),
    );
  }
}

/** Slice ports and Service ports belong together by name. */
function slicePorts(slice: EndpointSlice, service: ServiceDraft): readonly PortMapping[] {
  const mappings: PortMapping[] = [];
  for (const port of service.service.ports) {
    const own = slice.ports.find(
      (candidate) => (candidate.name ?? '') === port.name && (candidate.protocol ?? 'TCP') === 'TCP',
    );
    if (typeof own?.port === 'number') mappings.push({ servicePort: port.servicePort, targetPort: own.port });
  }
  return mappings;
}

function sliceWorkload(
  context: EndpointsContext,
  { metadata }: EndpointSlice,
  endpoint: { address: string; ready: boolean; node: string | undefined; zone: string | undefined },
): WorkloadDraft {
  const address = parseIpAddress(endpoint.address);
  const { namespace, name } = metadata;
  return {
    metadata,
    labels: {},
    namedPorts: new Map(),
    portNames: 'service',
    services: new Map(),
    policies: new Set(),
    base: {
      uid: `${context.clusterId}/discovery.k8s.io/EndpointSlice/${namespace}/${name}/${address}` as WorkloadUid,
      name,
      namespace,
      network: '',
      addresses: address === undefined ? [] : [address],
      hostname: '',
      trustDomain: context.trustDomain,
      serviceAccount: 'default',
      // Nothing says that a bare address speaks the mesh's tunnel.
      tunnelProtocol: 'none',
      node: endpoint.node ?? '',
      workloadName: name,
      workloadType: 'pod',
      canonicalName: metadata.labels[serviceNameLabel] ?? name,
      canonicalRevision: 'latest',
      clusterId: context.clusterId,
      health: endpoint.ready ? 'healthy' : 'unhealthy',
      networkMode: 'standard',
      capacity: 1,
      locality: { region: '', zone: endpoint.zone ?? '', subzone: '' },
    },
  };
}
