// What NetworkPolicies let through, by the rules of networking.k8s.io/v1: a pod that no policy selects for a direction is
// open in it; one that is selected gets what any rule of these policies allows, and nothing else. Pure.
// Pods on their node's network are outside of it: no implementation has to hold them to policies.

import { type LabelSelectorSpec } from '../../controller/resources/gateway-gateway.ts';
import { selectsLabels } from '../../controller/translate/label-selectors.ts';
import { cidrContains, parseCidr, parseIpAddress } from '../../mesh/model/ip-address.ts';
import type { LabelSelector, NetworkPolicyFact, PolicyPeer, PolicyPort } from './cluster-facts.ts';

export type Direction = 'Ingress' | 'Egress';

/** One end of a connection. */
export interface PolicyPod {
  readonly namespace: string;
  readonly name: string;
  readonly namespaceLabels: Readonly<Record<string, string>>;
  readonly labels: Readonly<Record<string, string>>;
  readonly addresses: readonly string[];
  /** For ports that policies name. */
  readonly ports: readonly {
    readonly name?: string;
    readonly containerPort: number;
    readonly protocol?: string;
  }[];
}

export interface Crossing {
  readonly direction: Direction;
  /** Whose policies are asked: the destination for Ingress, the source for Egress. */
  readonly subject: PolicyPod;
  readonly peer: PolicyPod;
}

export interface Port {
  readonly protocol: 'TCP' | 'UDP';
  readonly port: number;
}

interface Rule {
  readonly policy: NetworkPolicyFact;
  /** In the policy's own list. */
  readonly index: number;
  readonly ports: readonly PolicyPort[];
  readonly peers: readonly PolicyPeer[];
}

/** The policies that hold for a pod in this direction; none: it is open. */
export function policiesOf(
  policies: readonly NetworkPolicyFact[],
  { namespace, labels }: PolicyPod,
  direction: Direction,
): readonly NetworkPolicyFact[] {
  return policies.filter(
    ({ metadata, spec }) =>
      metadata.namespace === namespace &&
      typesOf(spec).includes(direction) &&
      matches(spec.podSelector ?? {}, labels),
  );
}

/** Whether these policies (of policiesOf) let a connection to exactly this port through. */
export function admits(policies: readonly NetworkPolicyFact[], crossing: Crossing, port: Port): boolean {
  return rulesFor(policies, crossing).some(({ ports }) => coversPort(ports, port, destinationOf(crossing)));
}

/** A rule that lets some TCP port through, if there is one: the way an application's own connections go. */
export function admittingTcp(
  policies: readonly NetworkPolicyFact[],
  crossing: Crossing,
): { readonly policy: NetworkPolicyFact; readonly index: number } | undefined {
  return rulesFor(policies, crossing).find(
    ({ ports }) => ports.length === 0 || ports.some(({ protocol = 'TCP' }) => protocol === 'TCP'),
  );
}

/** As the API server fills it in: Ingress always, Egress where there are rules for it. */
function typesOf({ policyTypes, egress = [] }: NetworkPolicyFact['spec']): readonly string[] {
  return policyTypes ?? (egress.length > 0 ? ['Ingress', 'Egress'] : ['Ingress']);
}

function rulesFor(policies: readonly NetworkPolicyFact[], { direction, peer }: Crossing): readonly Rule[] {
  return policies
    .flatMap((policy) => rulesOf(policy, direction))
    .filter(({ peers, policy }) => peers.length === 0 || peers.some((one) => isPeer(one, peer, policy)));
}

function rulesOf(policy: NetworkPolicyFact, direction: Direction): readonly Rule[] {
  const { ingress = [], egress = [] } = policy.spec;
  return direction === 'Ingress'
    ? ingress.map(({ ports = [], from = [] }, index) => ({ policy, index, ports, peers: from }))
    : egress.map(({ ports = [], to = [] }, index) => ({ policy, index, ports, peers: to }));
}

function isPeer(
  { ipBlock, namespaceSelector, podSelector }: PolicyPeer,
  pod: PolicyPod,
  { metadata }: NetworkPolicyFact,
): boolean {
  if (ipBlock !== undefined) {
    const { cidr, except = [] } = ipBlock;
    return pod.addresses.some(
      (address) => isIn(cidr, address) && !except.some((part) => isIn(part, address)),
    );
  }
  const inNamespace =
    namespaceSelector === undefined
      ? pod.namespace === metadata.namespace
      : matches(namespaceSelector, pod.namespaceLabels);
  return inNamespace && matches(podSelector ?? {}, pod.labels);
}

function isIn(cidr: string, address: string): boolean {
  const [block, ip] = [parseCidr(cidr), parseIpAddress(address)];
  return block !== undefined && ip !== undefined && cidrContains(block, ip);
}

/** A named port is that of the destination's containers, whichever way the policy looks. */
function coversPort(ports: readonly PolicyPort[], { protocol, port }: Port, destination: PolicyPod): boolean {
  if (ports.length === 0) return true;
  return ports.some(({ protocol: ofRule = 'TCP', port: given, endPort }) => {
    if (ofRule !== protocol) return false;
    if (given === undefined) return true;
    if (typeof given === 'number') return port >= given && port <= (endPort ?? given);
    return destination.ports.some(
      ({ name, containerPort, protocol: own = 'TCP' }) =>
        name === given && own === protocol && containerPort === port,
    );
  });
}

function destinationOf({ direction, subject, peer }: Crossing): PolicyPod {
  return direction === 'Ingress' ? subject : peer;
}

/** An empty selector selects everything. */
function matches(
  { matchLabels = {}, matchExpressions = [] }: LabelSelector,
  labels: PolicyPod['labels'],
): boolean {
  const spec: LabelSelectorSpec = {
    matchLabels,
    matchExpressions: matchExpressions.map(({ key, operator, values = [] }) => ({
      key,
      operator,
      values: [...values],
    })),
  };
  return selectsLabels(spec, labels);
}
