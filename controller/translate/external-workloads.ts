// Endpoints that are no pods: WorkloadEntries, and the endpoints written inside a ServiceEntry. An endpoint is part of
// the mesh only if it says so itself; a namespace's label speaks for pods alone.

import { parseIpAddress } from '../../mesh/model/ip-address.ts';
import type { Locality, WorkloadUid } from '../../mesh/model/workload.ts';
import type { ObjectMeta } from '../resources/object-meta.ts';
import type { EndpointSpec } from '../resources/own-kinds.ts';
import type { KindName, Resources } from '../resources/resources.ts';
import type { FieldPath } from '../source/problem.ts';
import { workloadNames } from './canonical-name.ts';
import { modeOf } from './enrolment.ts';
import type { Labels } from './selectors.ts';
import type { StatusCollector } from './statuses.ts';
import type { WorkloadDraft } from './workload-draft.ts';

export interface ExternalContext {
  readonly resources: Resources;
  readonly statuses: StatusCollector;
  readonly clusterId: string;
  readonly trustDomain: string;
}

export function translateWorkloadEntries(context: ExternalContext): readonly WorkloadDraft[] {
  const drafts: WorkloadDraft[] = [];
  for (const { metadata, spec } of context.resources.WorkloadEntry.values()) {
    context.statuses.announce('WorkloadEntry', metadata);
    const labels = { ...metadata.labels, ...spec.labels };
    const uid = `${context.clusterId}/weft.dev/WorkloadEntry/${metadata.namespace}/${metadata.name}`;
    const draft = externalWorkload(context, {
      kind: 'WorkloadEntry',
      metadata,
      spec,
      labels,
      uid,
      at: ['spec'],
    });
    if (draft !== undefined) drafts.push(draft);
  }
  return drafts;
}

export interface ExternalEndpoint {
  readonly kind: KindName;
  readonly metadata: ObjectMeta;
  readonly spec: EndpointSpec;
  readonly labels: Labels;
  readonly uid: string;
  /** Where the endpoint is written in its object. */
  readonly at: FieldPath;
}

/** Undefined, with a status, if the address is neither an address nor a name. */
export function externalWorkload(
  context: ExternalContext,
  endpoint: ExternalEndpoint,
): WorkloadDraft | undefined {
  const { metadata, spec, labels } = endpoint;
  const address = parseIpAddress(spec.address);
  if (address === undefined && !isHostname(spec.address)) {
    const message = `"${spec.address}" is neither an IP address nor a DNS name`;
    const field = [...endpoint.at, 'address'];
    context.statuses.reject(endpoint.kind, metadata, { reason: 'InvalidAddress', message, field });
    return undefined;
  }
  return {
    metadata,
    labels,
    namedPorts: new Map(Object.entries(spec.ports ?? {})),
    portNames: 'service',
    services: new Map(),
    policies: new Set(),
    base: {
      uid: endpoint.uid as WorkloadUid,
      name: metadata.name,
      namespace: metadata.namespace,
      network: spec.network ?? '',
      addresses: address === undefined ? [] : [address],
      hostname: address === undefined ? spec.address : '',
      trustDomain: context.trustDomain,
      serviceAccount: spec.serviceAccount ?? 'default',
      tunnelProtocol: speaksTunnel(labels) ? 'hbone' : 'none',
      node: '',
      ...workloadNames(metadata, labels),
      clusterId: context.clusterId,
      health: 'healthy',
      networkMode: 'standard',
      capacity: spec.weight,
      locality: parseLocality(spec.locality ?? ''),
    },
  };
}

/** Istio marks such machines with networking.istio.io/tunnel. */
function speaksTunnel(labels: Labels): boolean {
  return modeOf(labels) === 'ambient' || labels['networking.istio.io/tunnel'] === 'http';
}

function isHostname(text: string): boolean {
  if (/(^|\.)\d+\.?$/.test(text)) return false;
  return (
    text.length <= 253 &&
    /^([a-z0-9_]([-a-z0-9_]{0,61}[a-z0-9_])?\.)*[a-z0-9_]([-a-z0-9_]{0,61}[a-z0-9_])?$/i.test(text)
  );
}

function parseLocality(text: string): Locality {
  const [region = '', zone = '', subzone = ''] = text.split('/');
  return { region, zone, subzone };
}
