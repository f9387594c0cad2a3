// NetworkPolicies that were written for the ports of applications and so keep the mesh's own out: 15008 between captured
// pods and waypoints, and what the mesh's own pods need, 15012 of the controller and DNS.
// Asked is pod by pod, for pods that are there; those with the same namespace and labels count as one.

import { isEnrolled } from '../../controller/translate/enrolment.ts';
import { gatewayNameLabel, hbonePort } from '../../controller/translate/gateways.ts';
import type { ClusterFacts, NetworkPolicyFact, PodFact } from './cluster-facts.ts';
import { isControllerPod } from './controller-check.ts';
import { type CheckResult, counted, type Finding } from './finding.ts';
import {
  admits,
  admittingTcp,
  type Crossing,
  type Direction,
  policiesOf,
  type PolicyPod,
  type Port,
} from './network-policy.ts';
import { isTunnelPod } from './node-tunnels-check.ts';

const tunnelPort: Port = { protocol: 'TCP', port: hbonePort };
const controllerPort: Port = { protocol: 'TCP', port: 15_012 };
const dnsPort: Port = { protocol: 'UDP', port: 53 };

interface Kinds {
  /** Captured, or to be. */
  readonly captured: readonly PolicyPod[];
  readonly waypoints: readonly PolicyPod[];
  readonly tunnels: readonly PolicyPod[];
  readonly controllers: readonly PolicyPod[];
  readonly dns: readonly PolicyPod[];
}

/** One way that is closed. */
interface Blocked extends Crossing {
  readonly port: Port;
  readonly policies: readonly NetworkPolicyFact[];
  /** A rule that lets the same two talk otherwise. */
  readonly rule: { readonly policy: NetworkPolicyFact; readonly index: number } | undefined;
}

export function checkNetworkPolicies(facts: ClusterFacts): CheckResult | undefined {
  const { networkPolicies, pods, namespaces } = facts;
  if (networkPolicies === undefined || pods === undefined || namespaces === undefined) return undefined;
  const kinds = kindsOf(facts);
  const blocked = [
    ...betweenPods(networkPolicies, kinds),
    ...cutOffWaypoints(networkPolicies, kinds),
    ...ofTheMesh(networkPolicies, kinds),
  ];
  const count = networkPolicies.length;
  return {
    group: 'Network policies',
    summary: `${counted(count, 'NetworkPolicy').replace('Policys', 'Policies')} looked at`,
    findings: [...Map.groupBy(blocked, groupKey).values()].map(describe),
  };
}

function kindsOf({ pods = [], namespaces = [], namespace, networkPolicies = [] }: ClusterFacts): Kinds {
  const labels = new Map(namespaces.map(({ metadata }) => [metadata.name, metadata.labels ?? {}]));
  const byAddress = networkPolicies.some(hasAddresses);
  const collect = (isOf: (pod: PodFact) => boolean): readonly PolicyPod[] => {
    const found = pods.filter((pod) => pod.spec.hostNetwork !== true && !hasEnded(pod) && isOf(pod));
    const ends = found.map((pod) => policyPod(pod, labels.get(pod.metadata.namespace ?? '') ?? {}));
    // The first of those that are alike.
    return [
      ...new Map(ends.toReversed().map((end) => [alikeKey(end, byAddress), end])).values(),
    ].toReversed();
  };
  const isWaypoint = ({ metadata }: PodFact): boolean =>
    metadata.labels?.[gatewayNameLabel] !== undefined &&
    metadata.labels['app.kubernetes.io/part-of'] === 'weft';
  return {
    captured: collect(
      ({ metadata }) =>
        metadata.namespace !== namespace &&
        isEnrolled(metadata.labels ?? {}, labels.get(metadata.namespace ?? '') ?? {}),
    ),
    waypoints: collect(isWaypoint),
    tunnels: collect((pod) => isTunnelPod(pod, namespace)),
    controllers: collect((pod) => isControllerPod(pod, namespace)),
    dns: collect(({ metadata }) => metadata.labels?.['k8s-app'] === 'kube-dns'),
  };
}

function policyPod({ metadata, spec, status }: PodFact, namespaceLabels: PolicyPod['labels']): PolicyPod {
  return {
    namespace: metadata.namespace ?? '',
    name: metadata.name,
    namespaceLabels,
    labels: metadata.labels ?? {},
    addresses: status?.podIPs?.map(({ ip }) => ip) ?? [],
    ports: spec.containers.flatMap(({ ports = [] }) => ports),
  };
}

function hasEnded({ status }: PodFact): boolean {
  return status?.phase === 'Succeeded' || status?.phase === 'Failed';
}

function alikeKey({ namespace, labels, addresses }: PolicyPod, byAddress: boolean): string {
  const pairs = Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1));
  return JSON.stringify([namespace, pairs, byAddress ? addresses : []]);
}

function hasAddresses({ spec: { ingress = [], egress = [] } }: NetworkPolicyFact): boolean {
  const peers = [...ingress.flatMap(({ from = [] }) => from), ...egress.flatMap(({ to = [] }) => to)];
  return peers.some(({ ipBlock }) => ipBlock !== undefined);
}

/** Pairs that may talk in plain TCP, but not through the mesh. */
function betweenPods(policies: readonly NetworkPolicyFact[], { captured, waypoints }: Kinds): Blocked[] {
  const ends = [...captured, ...waypoints];
  const egress = new Map(ends.map((pod) => [pod, policiesOf(policies, pod, 'Egress')]));
  return ends.flatMap((to) => {
    const ingress = policiesOf(policies, to, 'Ingress');
    return ends.flatMap((from) => closedWays({ from, to, ingress, egress: egress.get(from) ?? [] }));
  });
}

function closedWays({
  from,
  to,
  ingress,
  egress,
}: {
  readonly from: PolicyPod;
  readonly to: PolicyPod;
  readonly ingress: readonly NetworkPolicyFact[];
  readonly egress: readonly NetworkPolicyFact[];
}): readonly Blocked[] {
  const ways = [
    { direction: 'Ingress', subject: to, peer: from, policies: ingress },
    { direction: 'Egress', subject: from, peer: to, policies: egress },
  ] as const;
  const limited = ways.filter(({ policies }) => policies.length > 0);
  const asked = limited.map(({ policies, ...crossing }) => {
    const rule = admittingTcp(policies, crossing);
    return { ...crossing, port: tunnelPort, policies, rule, isOpen: admits(policies, crossing, tunnelPort) };
  });
  // Who may not talk at all is meant to be apart.
  if (asked.some(({ rule }) => rule === undefined)) return [];
  return asked.filter(({ isOpen }) => !isOpen);
}

/**
 * A waypoint that no captured pod reaches, or that reaches none: policies that close a whole namespace but for its
 * applications select it too.
 */
function cutOffWaypoints(policies: readonly NetworkPolicyFact[], { captured, waypoints }: Kinds): Blocked[] {
  return waypoints.flatMap((subject) =>
    (['Ingress', 'Egress'] as const).flatMap((direction) => {
      const own = policiesOf(policies, subject, direction);
      const crossings = captured.map((peer): Crossing => ({ direction, subject, peer }));
      const [first] = crossings.toSorted(
        (a, b) =>
          Number(b.peer.namespace === subject.namespace) - Number(a.peer.namespace === subject.namespace),
      );
      const isReached = crossings.some((crossing) => admits(own, crossing, tunnelPort));
      if (own.length === 0 || first === undefined || isReached) return [];
      return [{ ...first, port: tunnelPort, policies: own, rule: undefined }];
    }),
  );
}

/** What the mesh's own pods need: who gets nothing is cut off, whatever was meant. */
function ofTheMesh(policies: readonly NetworkPolicyFact[], kinds: Kinds): Blocked[] {
  const { tunnels, waypoints, controllers, dns } = kinds;
  const clients = [...tunnels, ...waypoints];
  const pairs = [
    ...clients.flatMap((from) => controllers.map((to) => ({ from, to, port: controllerPort }))),
    ...clients.flatMap((from) => dns.map((to) => ({ from, to, port: dnsPort }))),
  ];
  return pairs.flatMap(({ from, to, port }) => {
    const ways: Crossing[] = [
      { direction: 'Ingress', subject: to, peer: from },
      { direction: 'Egress', subject: from, peer: to },
    ];
    return ways.flatMap((crossing) => {
      const own = policiesOf(policies, crossing.subject, crossing.direction);
      if (own.length === 0 || admits(own, crossing, port)) return [];
      return [{ ...crossing, port, policies: own, rule: undefined }];
    });
  });
}

/** One finding for all that the same policies keep apart. */
function groupKey({ direction, policies, port }: Blocked): string {
  return JSON.stringify([direction, port.port, policies.map(nameOf)]);
}

function nameOf({ metadata }: NetworkPolicyFact): string {
  return `${metadata.namespace}/${metadata.name}`;
}

function describe(blocked: readonly Blocked[]): Finding {
  const [{ direction, policies, port, subject, peer, rule }] = blocked as [Blocked];
  const [from, to] = direction === 'Ingress' ? [peer, subject] : [subject, peer];
  const way = { Ingress: 'in', Egress: 'out' }[direction];
  const others = blocked.length === 1 ? '' : `, and ${counted(blocked.length - 1, 'pair')} more`;
  const isTunnel = port.port === hbonePort;
  return {
    level: 'error',
    where: `networkpolicy ${policies.map(nameOf).join(', ')}`,
    what: `${isTunnel ? `does not let ${port.protocol} ${port.port} ${way}` : `keeps ${port.protocol} ${port.port} from going ${way}`}: from ${label(from)} to ${label(to)}${others}`,
    why: whys[port.port] ?? '',
    fix: patchFor({
      direction,
      port,
      policy: rule?.policy ?? (policies[0] as NetworkPolicyFact),
      rule: rule?.index,
    }),
  };
}

const whys: Readonly<Record<number, string>> = {
  [hbonePort]:
    'these pods may talk, but between captured pods every connection goes through this port, so all of them fail',
  [controllerPort.port]: 'node tunnels and waypoints get no configuration and no certificates',
  [dnsPort.port]: 'the name of the controller is not found',
};

function label({ namespace, name }: PolicyPod): string {
  return `${namespace}/${name}`;
}

/** Adds the port to the rule that lets the same two talk; without one, a rule that asks for nobody. */
function patchFor({
  direction,
  port: { protocol, port },
  policy: { metadata, spec },
  rule,
}: {
  readonly direction: Direction;
  readonly port: Port;
  readonly policy: NetworkPolicyFact;
  readonly rule: number | undefined;
}): string {
  const field = { Ingress: 'ingress', Egress: 'egress' }[direction] as 'ingress' | 'egress';
  const value = { protocol, port };
  const added =
    rule !== undefined
      ? { op: 'add', path: `/spec/${field}/${rule}/ports/-`, value }
      : spec[field] === undefined
        ? { op: 'add', path: `/spec/${field}`, value: [{ ports: [value] }] }
        : { op: 'add', path: `/spec/${field}/-`, value: { ports: [value] } };
  return `kubectl -n ${metadata.namespace} patch networkpolicy ${metadata.name} --type=json -p '${JSON.stringify([added])}'`;
}
