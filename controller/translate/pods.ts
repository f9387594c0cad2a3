// Pods to workloads, and to the pods a node captures. A pod that ended or has no address is no workload, but in a cluster
// its node hears of it before it has one: the CNI step needs to know whom it captures. Two pods never share an address or
// a network namespace, because either would mix up identities.

import { type IpAddress, parseIpAddress } from '../../mesh/model/ip-address.ts';
import { type NodePod, podReference } from '../../mesh/model/node-pod.ts';
import type { Locality, WorkloadUid } from '../../mesh/model/workload.ts';
import type { Pod } from '../resources/core-kinds.ts';
import type { Resources } from '../resources/resources.ts';
import { workloadNames } from './canonical-name.ts';
import { isEnrolled, unknownMode } from './enrolment.ts';
import { type Waypoint, waypointOfPod, type Waypoints } from './gateways.ts';
import { byPrecedence } from './precedence.ts';
import { probePorts } from './probe-ports.ts';
import type { Labels } from './selectors.ts';
import type { StatusCollector } from './statuses.ts';
import { finishWorkload, type WorkloadDraft } from './workload-draft.ts';

const netnsAnnotation = 'weft.dev/netns';
const addressesAnnotation = 'weft.dev/addresses';

export interface PodsContext {
  readonly resources: Resources;
  readonly statuses: StatusCollector;
  readonly clusterId: string;
  readonly trustDomain: string;
  /** Only manifests that the machine's owner wrote may name addresses and network namespaces of pods. */
  readonly standalone: boolean;
  readonly waypoints: Waypoints;
}

export interface TranslatedPods {
  readonly drafts: readonly WorkloadDraft[];
  readonly nodePods: readonly NodePod[];
}

export function translatePods(context: PodsContext): TranslatedPods {
  const addressOwners = new Map<IpAddress, string>();
  const netnsOwners = new Map<string, string>();
  const drafts: WorkloadDraft[] = [];
  const nodePods: NodePod[] = [];
  for (const pod of inClaimOrder(context.resources.Pod)) {
    if (pod.status?.phase === 'Succeeded' || pod.status?.phase === 'Failed') continue;
    reportUnknownMode(context, pod);
    const addresses = claimAddresses(context, pod, addressOwners);
    if (addresses.length === 0 && (context.standalone || pod.spec.nodeName === '')) continue;
    const waypoint = waypointOf(context, pod);
    const draft = makeDraft(context, { pod, addresses, waypoint });
    if (addresses.length > 0) {
      waypoint?.pods.push(draft);
      drafts.push(draft);
    }
    // A waypoint speaks the mesh's protocol itself; captured, its connections would run in a circle.
    const enrolled = waypoint === undefined && draft.base.tunnelProtocol === 'hbone';
    const nodePod = context.standalone
      ? makeNodePod(context, { pod, draft, enrolled, netnsOwners })
      : makeClusterNodePod(pod, { draft, enrolled });
    if (nodePod !== undefined) nodePods.push(nodePod);
  }
  return { drafts, nodePods };
}

/** A pod that ends has lost its address by the time another one runs with it, however old it is. */
function inClaimOrder(pods: Resources['Pod']): readonly Pod[] {
  const sorted = byPrecedence(pods.values());
  const ending = sorted.filter(({ metadata }) => metadata.deleting);
  return ending.length === 0 ? sorted : [...sorted.filter(({ metadata }) => !metadata.deleting), ...ending];
}

function waypointOf({ waypoints }: PodsContext, { metadata, spec }: Pod): Waypoint | undefined {
  if (waypoints.size === 0 || spec.hostNetwork) return undefined;
  const { namespace, labels } = metadata;
  return waypointOfPod(waypoints, { namespace, labels, serviceAccount: spec.serviceAccountName });
}

interface PodFacts {
  readonly pod: Pod;
  readonly addresses: readonly IpAddress[];
  /** That this pod runs. */
  readonly waypoint: Waypoint | undefined;
}

type SettledDraft = Pick<WorkloadDraft, 'base' | 'namedPorts'>;

/** What was made of each pod last, and all that it was made from besides the pod itself. Only saves work. */
const settled = new WeakMap<Pod, { readonly from: readonly unknown[]; readonly draft: SettledDraft }>();

function makeDraft(context: PodsContext, facts: PodFacts): WorkloadDraft {
  const { pod, addresses, waypoint } = facts;
  const { metadata, spec } = pod;
  const { resources, clusterId, trustDomain } = context;
  const surroundings = [resources.Namespace.get(metadata.namespace), resources.Node.get(spec.nodeName)];
  const from = [clusterId, trustDomain, waypoint?.key, ...surroundings, ...addresses];
  const last = settled.get(pod);
  const same = last?.from.length === from.length && last.from.every((value, i) => value === from[i]);
  const draft = same ? last.draft : settleDraft(context, facts);
  if (!same) settled.set(pod, { from, draft });
  return {
    ...draft,
    metadata,
    labels: metadata.labels,
    portNames: 'target',
    services: new Map(),
    policies: new Set(),
  };
}

/** Depends on nothing but the pod and what makeDraft() compares. */
function settleDraft(context: PodsContext, { pod, addresses, waypoint }: PodFacts): SettledDraft {
  const { metadata, spec } = pod;
  const { namespace, name, labels } = metadata;
  // Pods on the host's network share its addresses and cannot be told apart there, so they are never captured.
  const enrolled = !spec.hostNetwork && isEnrolled(labels, namespaceLabels(context, namespace));
  const hbone = enrolled || waypoint !== undefined;
  return {
    namedPorts: containerPorts(pod),
    base: {
      uid: `${context.clusterId}//Pod/${namespace}/${name}` as WorkloadUid,
      name,
      namespace,
      network: '',
      addresses,
      hostname: '',
      trustDomain: context.trustDomain,
      serviceAccount: spec.serviceAccountName,
      tunnelProtocol: hbone ? 'hbone' : 'none',
      node: spec.nodeName,
      ...workloadNames(metadata),
      clusterId: context.clusterId,
      health: isReady(pod) ? 'healthy' : 'unhealthy',
      networkMode: spec.hostNetwork ? 'host-network' : 'standard',
      capacity: 1,
      locality: localityOf(context, pod),
    },
  };
}

function namespaceLabels(context: PodsContext, namespace: string): Labels {
  return context.resources.Namespace.get(namespace)?.metadata.labels ?? {};
}

/** A manifest without a status describes a pod that is simply there; otherwise the Ready condition decides. */
function isReady({ metadata, status }: Pod): boolean {
  if (metadata.deleting) return false;
  if (status === undefined || (status.phase === undefined && status.conditions.length === 0)) return true;
  return status.conditions.some((condition) => condition.type === 'Ready' && condition.status === 'True');
}

/** TCP ports by name; the first container that names one wins, as in Kubernetes. */
function containerPorts({ spec }: Pod): ReadonlyMap<string, number> {
  const ports = new Map<string, number>();
  const sidecars = spec.initContainers.filter((container) => container.restartPolicy === 'Always');
  for (const { name, containerPort, protocol } of [...spec.containers, ...sidecars].flatMap(
    ({ ports }) => ports,
  )) {
    if (name !== '' && protocol === 'TCP' && !ports.has(name)) ports.set(name, containerPort);
  }
  return ports;
}

function localityOf(context: PodsContext, { metadata, spec }: Pod): Locality {
  const node = context.resources.Node.get(spec.nodeName)?.metadata.labels ?? {};
  const label = (key: string) => node[key] ?? metadata.labels[key] ?? '';
  return {
    region: label('topology.kubernetes.io/region'),
    zone: label('topology.kubernetes.io/zone'),
    subzone: label('topology.istio.io/subzone'),
  };
}

/** The pod's addresses that no older pod has. Pods on the host's network share theirs and claim nothing. */
function claimAddresses(
  context: PodsContext,
  pod: Pod,
  owners: Map<IpAddress, string>,
): readonly IpAddress[] {
  const { metadata, spec } = pod;
  const key = `${metadata.namespace}/${metadata.name}`;
  const addresses: IpAddress[] = [];
  const written = writtenAddresses(context, pod);
  for (const { text, address } of written) {
    if (address === undefined) {
      const message = `"${text}" is not an IP address`;
      context.statuses.reject('Pod', metadata, { reason: 'InvalidAddress', message });
    } else if (spec.hostNetwork) addresses.push(address);
    else if (!owners.has(address)) {
      owners.set(address, key);
      addresses.push(address);
    } else if (owners.get(address) !== key) {
      const message = `Address ${address} already belongs to Pod ${owners.get(address)}`;
      context.statuses.conflict('Pod', metadata, { reason: 'AddressInUse', message });
    }
  }
  if (written.length === 0 && context.standalone) {
    const message = `The pod has no address: set status.podIPs or the annotation ${addressesAnnotation}`;
    context.statuses.reject('Pod', metadata, { reason: 'NoAddress', message });
  }
  return addresses;
}

interface WrittenAddress {
  readonly text: string;
  readonly address: IpAddress | undefined;
}

/** Addresses of the status by pod: parsed once, however often other objects change. */
const ofStatus = new WeakMap<Pod, readonly WrittenAddress[]>();

function writtenAddresses(context: PodsContext, pod: Pod): readonly WrittenAddress[] {
  const { metadata, status } = pod;
  const annotation = context.standalone ? metadata.annotations[addressesAnnotation] : undefined;
  if (annotation !== undefined) return annotation.split(',').map(parseWritten);
  let addresses = ofStatus.get(pod);
  if (addresses === undefined) {
    const texts = (status?.podIPs ?? []).map(({ ip }) => ip);
    if (texts.length === 0 && status?.podIP) texts.push(status.podIP);
    addresses = texts.map(parseWritten);
    ofStatus.set(pod, addresses);
  }
  return addresses;
}

function parseWritten(text: string): WrittenAddress {
  return { text, address: parseIpAddress(text.trim()) };
}

function makeNodePod(
  context: PodsContext,
  options: { pod: Pod; draft: WorkloadDraft; enrolled: boolean; netnsOwners: Map<string, string> },
): NodePod | undefined {
  const { pod, draft, enrolled, netnsOwners } = options;
  const { metadata, spec } = pod;
  const annotation = metadata.annotations[netnsAnnotation];
  if (spec.nodeName === '' || annotation === undefined) {
    if (enrolled && spec.nodeName !== '') {
      const message = `Not captured: the annotation ${netnsAnnotation} does not name its network namespace`;
      context.statuses.reject('Pod', metadata, { reason: 'NoNetworkNamespace', message });
    }
    return undefined;
  }
  const netns = netnsPath(annotation);
  if (netns === undefined) {
    const message = `Not captured: the annotation ${netnsAnnotation} "${annotation}" is neither a name nor an absolute path`;
    context.statuses.reject('Pod', metadata, { reason: 'InvalidNetworkNamespace', message });
    return undefined;
  }
  const place = `${spec.nodeName} ${netns}`;
  const owner = netnsOwners.get(place);
  if (owner !== undefined) {
    const message = `Not captured: network namespace "${netns}" already belongs to Pod ${owner}`;
    context.statuses.conflict('Pod', metadata, { reason: 'NetworkNamespaceInUse', message });
    return undefined;
  }
  netnsOwners.set(place, `${metadata.namespace}/${metadata.name}`);
  const { uid, name, namespace, serviceAccount, trustDomain, node, addresses } = draft.base;
  return {
    uid,
    name,
    namespace,
    serviceAccount,
    trustDomain,
    node,
    addresses,
    netns,
    enrolled,
    ...sameNode(metadata),
    ...probes(pod),
  };
}

/** What was made of each pod's workload last: what did not change stays the same object, and comparing models is short. */
const toldToNodes = new WeakMap<WorkloadDraft['base'], NodePod>();

/**
 * In a cluster only the node knows the namespace of a pod's sandbox. Pods on the host's network have none; one that is not
 * enrolled is told too, so that its node can tell a removed label from a removed pod.
 */
function makeClusterNodePod(
  pod: Pod,
  { draft, enrolled }: { draft: WorkloadDraft; enrolled: boolean },
): NodePod | undefined {
  const { metadata, spec } = pod;
  if (spec.nodeName === '' || spec.hostNetwork || metadata.uid === undefined) return undefined;
  const { base } = draft;
  const last = toldToNodes.get(base);
  if (last?.enrolled === enrolled) return last;
  const { uid, name, namespace, serviceAccount, trustDomain, node, addresses } = base;
  const netns = podReference(metadata.uid);
  const nodePod: NodePod = {
    uid,
    name,
    namespace,
    serviceAccount,
    trustDomain,
    node,
    addresses,
    netns,
    enrolled,
    ...(enrolled && addresses.length === 0 ? { starting: finishWorkload(draft) } : {}),
    ...sameNode(metadata),
    ...probes(pod),
  };
  toldToNodes.set(base, nodePod);
  return nodePod;
}

function probes({ spec }: Pod): { readonly probePorts?: readonly number[] } {
  const ports = probePorts(spec);
  return ports.length === 0 ? {} : { probePorts: ports };
}

/** `weft.dev/same-node: proxy`; any other value says nothing. */
function sameNode({ labels }: Pod['metadata']): { readonly sameNode?: 'proxy' } {
  return labels['weft.dev/same-node'] === 'proxy' ? { sameNode: 'proxy' } : {};
}

/** A bare name is one of iproute2's (`ip netns add NAME`). */
function netnsPath(annotation: string): string | undefined {
  if (/^[A-Za-z0-9_][A-Za-z0-9._-]{0,254}$/.test(annotation)) return `/run/netns/${annotation}`;
  const absolute =
    annotation.startsWith('/') && !annotation.split('/').includes('..') && !annotation.includes('\0');
  return absolute && annotation.length <= 4096 ? annotation : undefined;
}

function reportUnknownMode(context: PodsContext, { metadata, spec }: Pod): void {
  const unknown = unknownMode(metadata.labels);
  if (unknown !== undefined) {
    const message = `Label ${unknown.label}: "${unknown.value}" is neither "ambient" nor "none", so the pod is not in the mesh`;
    context.statuses.reject('Pod', metadata, {
      reason: 'UnknownMode',
      message,
      field: ['metadata', 'labels', unknown.label],
    });
  }
  if (spec.hostNetwork && isEnrolled(metadata.labels, {})) {
    const message = 'Not captured: the pod uses the network of its node, which mesh pods cannot';
    context.statuses.reject('Pod', metadata, { reason: 'HostNetwork', message });
  }
}
