// ServiceEntries to services and their endpoints: one service a host name. Meaning as in Istio: NONE passes connections
// on, STATIC lists endpoints or selects workloads, DNS resolves endpoint names (or the host itself) when needed.

import { parseCidr } from '../../mesh/model/ip-address.ts';
import type { Service, ServiceKey, ServicePort, VirtualAddress } from '../../mesh/model/service.ts';
import { parseSpiffeId } from '../../mesh/model/spiffe-id.ts';
import type { EndpointSpec, ServiceEntryObject } from '../resources/own-kinds.ts';
import { joinEndpoint } from './endpoints.ts';
import { type ExternalContext, externalWorkload } from './external-workloads.ts';
import { byPrecedence } from './precedence.ts';
import { isEmptySelector, selects } from './selectors.ts';
import { emptyService, type ServiceDraft } from './service-draft.ts';
import { VirtualAddressPool } from './virtual-addresses.ts';
import type { WorkloadDraft } from './workload-draft.ts';

export interface TranslatedServiceEntries {
  readonly services: readonly ServiceDraft[];
  readonly workloads: readonly WorkloadDraft[];
}

/** `taken` are the keys of Kubernetes Services, which always win. */
export function translateServiceEntries(
  context: ExternalContext,
  taken: ReadonlySet<ServiceKey>,
  byNamespace: ReadonlyMap<string, readonly WorkloadDraft[]>,
): TranslatedServiceEntries {
  const services: ServiceDraft[] = [];
  const workloads: WorkloadDraft[] = [];
  const owners = new Map<string, string>([...taken].map((key) => [key, 'a Service']));
  const pool = new VirtualAddressPool();
  for (const entry of byPrecedence(context.resources.ServiceEntry.values())) {
    context.statuses.announce('ServiceEntry', entry.metadata);
    const drafts = entryServices(context, entry, { owners, pool });
    services.push(...drafts);
    const selector = entry.spec.workloadSelector?.labels;
    if (selector !== undefined && !isEmptySelector(selector)) {
      const selected = (byNamespace.get(entry.metadata.namespace) ?? []).filter((w) =>
        selects(selector, w.labels),
      );
      for (const workload of selected) for (const draft of drafts) joinEndpoint(draft, workload);
    }
    workloads.push(...entryEndpoints(context, entry, drafts));
  }
  return { services, workloads };
}

interface Shared {
  readonly owners: Map<string, string>;
  readonly pool: VirtualAddressPool;
}

function entryServices(
  context: ExternalContext,
  entry: ServiceEntryObject,
  { owners, pool }: Shared,
): ServiceDraft[] {
  const { metadata, spec } = entry;
  const addresses = writtenAddresses(context, entry);
  const drafts: ServiceDraft[] = [];
  for (const [index, host] of spec.hosts.entries()) {
    const service = emptyService(metadata.namespace, metadata.name, host);
    const owner = owners.get(service.key);
    if (owner !== undefined) {
      const message = `Host "${host}" already belongs to ${owner} in this namespace`;
      context.statuses.conflict('ServiceEntry', metadata, {
        reason: 'HostInUse',
        message,
        field: ['spec', 'hosts', index],
      });
      continue;
    }
    owners.set(service.key, `ServiceEntry ${metadata.namespace}/${metadata.name}`);
    const automatic = addresses.length === 0 && needsAddress(entry, host);
    drafts.push({
      kind: 'ServiceEntry',
      metadata,
      namedTargets: new Map(),
      service: {
        ...service,
        addresses: automatic
          ? pool
              .allocate(service.key)
              .map((address) => ({ network: '', address, length: address.includes(':') ? 128 : 32 }))
          : addresses,
        ports: spec.ports.map(entryPort),
        subjectAltNames: identities(context, entry),
        loadBalancing: {
          mode: spec.resolution === 'NONE' ? 'passthrough' : 'unspecified',
          routingPreference: [],
          healthPolicy: 'only-healthy',
        },
        visibility: spec.exportTo?.[0] === '.' ? 'namespace' : 'public',
      },
    });
  }
  return drafts;
}

/** A connection to a name can only be told from another by its address, so every balanced name needs one. */
function needsAddress({ spec }: ServiceEntryObject, host: string): boolean {
  return spec.resolution !== 'NONE' && !host.startsWith('*');
}

function writtenAddresses(
  context: ExternalContext,
  { metadata, spec }: ServiceEntryObject,
): readonly VirtualAddress[] {
  const addresses: VirtualAddress[] = [];
  for (const [index, text] of (spec.addresses ?? []).entries()) {
    const cidr = parseCidr(text);
    if (cidr !== undefined) addresses.push({ network: '', address: cidr.address, length: cidr.length });
    else {
      const message = `"${text}" is neither an IP address nor a CIDR block`;
      const field = ['spec', 'addresses', index];
      context.statuses.reject('ServiceEntry', metadata, { reason: 'InvalidAddress', message, field });
    }
  }
  return addresses;
}

const appProtocols = {
  TCP: 'tcp',
  TLS: 'tls',
  HTTPS: 'tls',
  HTTP: 'http11',
  HTTP2: 'http2',
  GRPC: 'grpc',
} as const;

function entryPort(port: ServiceEntryObject['spec']['ports'][number]): ServicePort {
  return {
    name: port.name ?? '',
    servicePort: port.number,
    targetPort: port.targetPort ?? port.number,
    appProtocol: appProtocols[port.protocol],
  };
}

function identities(
  context: ExternalContext,
  { metadata, spec }: ServiceEntryObject,
): Service['subjectAltNames'] {
  const valid: string[] = [];
  for (const [index, text] of (spec.subjectAltNames ?? []).entries()) {
    if (parseSpiffeId(text) !== undefined) valid.push(text);
    else {
      const message = `"${text}" is no identity of the form spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/SERVICE-ACCOUNT`;
      const field = ['spec', 'subjectAltNames', index];
      context.statuses.reject('ServiceEntry', metadata, { reason: 'InvalidIdentity', message, field });
    }
  }
  return valid;
}

function entryEndpoints(
  context: ExternalContext,
  entry: ServiceEntryObject,
  drafts: readonly ServiceDraft[],
): readonly WorkloadDraft[] {
  const { metadata, spec } = entry;
  if (spec.resolution === 'NONE' || drafts.length === 0 || spec.workloadSelector !== undefined) return [];
  const prefix = `${context.clusterId}/weft.dev/ServiceEntry/${metadata.namespace}/${metadata.name}`;
  const workloads = new Map<string, WorkloadDraft>();
  const add = (
    endpoint: EndpointSpec,
    at: readonly (string | number)[],
    services: readonly ServiceDraft[],
  ) => {
    const uid = `${prefix}/${endpoint.address}`;
    if (workloads.has(uid)) {
      const message = `Endpoint "${endpoint.address}" is listed twice; the first counts`;
      context.statuses.reject('ServiceEntry', metadata, { reason: 'DuplicateEndpoint', message, field: at });
      return;
    }
    const labels = endpoint.labels ?? {};
    const made = externalWorkload(context, {
      kind: 'ServiceEntry',
      metadata,
      spec: endpoint,
      labels,
      uid,
      at,
    });
    if (made === undefined) return;
    const draft = spec.location === 'MESH_EXTERNAL' ? outsideMesh(made) : made;
    workloads.set(uid, draft);
    for (const service of services) joinEndpoint(service, draft);
  };
  for (const [index, endpoint] of (spec.endpoints ?? []).entries())
    add(endpoint, ['spec', 'endpoints', index], drafts);
  if (spec.resolution === 'DNS' && spec.endpoints === undefined) {
    for (const [index, draft] of drafts.entries()) addHostEndpoint(context, { entry, draft, index, add });
  }
  return [...workloads.values()];
}

/** DNS without endpoints: the host's own name is what is resolved. */
function addHostEndpoint(
  context: ExternalContext,
  options: {
    entry: ServiceEntryObject;
    draft: ServiceDraft;
    index: number;
    add: (
      endpoint: EndpointSpec,
      at: readonly (string | number)[],
      services: readonly ServiceDraft[],
    ) => void;
  },
): void {
  const { entry, draft, index, add } = options;
  const { hostname } = draft.service;
  if (!hostname.startsWith('*')) {
    add({ address: hostname, weight: 1 }, ['spec', 'hosts', index], [draft]);
    return;
  }
  const message = `"${hostname}" cannot be resolved: a wildcard with resolution DNS needs endpoints`;
  const field = ['spec', 'hosts', index];
  context.statuses.reject('ServiceEntry', entry.metadata, {
    reason: 'WildcardWithoutEndpoints',
    message,
    field,
  });
}

function outsideMesh(draft: WorkloadDraft): WorkloadDraft {
  return { ...draft, base: { ...draft.base, tunnelProtocol: 'none' } };
}
