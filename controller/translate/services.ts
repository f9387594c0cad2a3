// Kubernetes Services to services of the model: name, virtual addresses, ports, balancing. Which workloads are behind
// them is endpoints.ts. Only TCP ports count; a Service without any is still known by name.

import { ipBits, parseIpAddress } from '../../mesh/model/ip-address.ts';
import type { LoadBalancing, Service, ServicePort, VirtualAddress } from '../../mesh/model/service.ts';
import type { KubernetesService } from '../resources/core-kinds.ts';
import type { Resources } from '../resources/resources.ts';
import { byPrecedence } from './precedence.ts';
import { appProtocolOf, emptyService, type ServiceDraft } from './service-draft.ts';
import type { StatusCollector } from './statuses.ts';

export interface ServicesContext {
  readonly resources: Resources;
  readonly statuses: StatusCollector;
  /** In standalone mode nobody assigns cluster addresses. */
  readonly standalone: boolean;
}

/** `name.namespace.svc.cluster.local`: the cluster domain is fixed as in the Istio ztunnel. */
export function serviceHostname(namespace: string, name: string): string {
  return `${name}.${namespace}.svc.cluster.local`;
}

export function translateServices(context: ServicesContext): readonly ServiceDraft[] {
  const drafts: ServiceDraft[] = [];
  const owners = new Map<string, string>();
  for (const object of byPrecedence(context.resources.Service.values())) {
    if (object.spec.type === 'ExternalName') {
      const message =
        'ExternalName Services are plain DNS aliases and not part of the mesh: use a ServiceEntry';
      context.statuses.reject('Service', object.metadata, { reason: 'ExternalName', message });
    } else drafts.push(translateService(context, object, owners));
  }
  return drafts;
}

function translateService(
  context: ServicesContext,
  object: KubernetesService,
  owners: Map<string, string>,
): ServiceDraft {
  const { metadata, spec } = object;
  const { namespace, name } = metadata;
  const namedTargets = new Map<number, string>();
  const service: Service = {
    ...emptyService(namespace, name, serviceHostname(namespace, name)),
    addresses: virtualAddresses(context, object, owners),
    ports: servicePorts(context, object, namedTargets),
    loadBalancing: loadBalancing(object),
    ipFamilies: ipFamilies(spec.ipFamilies),
    canonical: true,
  };
  if (spec.sessionAffinity === 'ClientIP') {
    const message = 'In force; sessionAffinity ClientIP is not kept by the mesh';
    context.statuses.remark('Service', metadata, { reason: 'SessionAffinityIgnored', message });
  }
  return { kind: 'Service', metadata, service, namedTargets };
}

function virtualAddresses(
  context: ServicesContext,
  { metadata, spec }: KubernetesService,
  owners: Map<string, string>,
): readonly VirtualAddress[] {
  if (spec.clusterIP === 'None') return [];
  const written = spec.clusterIPs.length > 0 ? spec.clusterIPs : spec.clusterIP ? [spec.clusterIP] : [];
  const addresses: VirtualAddress[] = [];
  for (const text of written) {
    const address = parseIpAddress(text);
    if (address === undefined) {
      const message = `"${text}" is not an IP address`;
      context.statuses.reject('Service', metadata, {
        reason: 'InvalidAddress',
        message,
        field: ['spec', 'clusterIPs'],
      });
      continue;
    }
    const owner = owners.get(address);
    if (owner !== undefined) {
      const message = `Cluster address ${address} already belongs to Service ${owner}`;
      context.statuses.conflict('Service', metadata, {
        reason: 'AddressInUse',
        message,
        field: ['spec', 'clusterIP'],
      });
      continue;
    }
    owners.set(address, `${metadata.namespace}/${metadata.name}`);
    addresses.push({ network: '', address, length: ipBits(address) });
  }
  if (written.length === 0 && context.standalone) {
    const message =
      'In force as a headless Service: nobody assigns addresses here, set spec.clusterIP to give it one';
    context.statuses.remark('Service', metadata, { reason: 'NoClusterAddress', message });
  }
  return addresses;
}

function servicePorts(
  context: ServicesContext,
  { metadata, spec }: KubernetesService,
  namedTargets: Map<number, string>,
): readonly ServicePort[] {
  const ports: ServicePort[] = [];
  for (const [index, port] of spec.ports.entries()) {
    if (port.protocol !== 'TCP') continue;
    if (ports.some((other) => other.servicePort === port.port)) {
      const message = `Port ${port.port} is listed twice; the first counts`;
      context.statuses.reject('Service', metadata, {
        reason: 'DuplicatePort',
        message,
        field: ['spec', 'ports', index, 'port'],
      });
      continue;
    }
    const target = targetOf(port.targetPort, port.port);
    if (typeof target === 'string') namedTargets.set(port.port, target);
    ports.push({
      name: port.name,
      servicePort: port.port,
      targetPort: typeof target === 'string' ? 0 : target,
      appProtocol: appProtocolOf(port.appProtocol, port.name),
    });
  }
  return ports;
}

/** A number, also one in quotes, or the name of a container port. */
function targetOf(targetPort: number | string | undefined, port: number): number | string {
  if (targetPort === undefined) return port;
  const number = Number(targetPort);
  return Number.isInteger(number) && number >= 1 && number <= 65535 ? number : String(targetPort);
}

/** The scopes are Istio's for the same fields (the network is implied: there is one). */
function loadBalancing({ spec }: KubernetesService): LoadBalancing {
  const healthPolicy = spec.publishNotReadyAddresses ? 'allow-all' : 'only-healthy';
  if (spec.internalTrafficPolicy === 'Local')
    return { mode: 'strict', routingPreference: ['node'], healthPolicy };
  switch (spec.trafficDistribution) {
    case 'PreferClose':
    case 'PreferSameZone':
      return { mode: 'failover', routingPreference: ['network', 'region', 'zone'], healthPolicy };
    case 'PreferSameNode':
      return {
        mode: 'failover',
        routingPreference: ['network', 'region', 'zone', 'subzone', 'node'],
        healthPolicy,
      };
    default:
      return { mode: 'unspecified', routingPreference: [], healthPolicy };
  }
}

function ipFamilies(families: readonly ('IPv4' | 'IPv6')[]): Service['ipFamilies'] {
  const v4 = families.includes('IPv4');
  const v6 = families.includes('IPv6');
  if (v4 && v6) return 'dual';
  return v4 ? 'ipv4-only' : v6 ? 'ipv6-only' : 'automatic';
}
