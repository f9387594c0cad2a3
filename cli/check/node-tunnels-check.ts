// Whether a node tunnel runs on every node, all of one version.

import type { ClusterFacts, NodeFact, PodFact } from './cluster-facts.ts';
import { type CheckResult, counted, type Finding, someOf } from './finding.ts';
import { isReady, podProblem } from './pod-problem.ts';

export function checkNodeTunnels(facts: ClusterFacts): CheckResult | undefined {
  const { namespace, tunnels, nodes, pods, unreadable } = facts;
  const group = 'Node tunnels';
  const where = `daemonset ${namespace}/weft-ztunnel`;
  if (tunnels === undefined) {
    if (unreadable.some(({ right }) => right.includes('daemonsets'))) return undefined;
    const finding: Finding = {
      level: 'error',
      where,
      what: 'is missing',
      why: 'no pod is captured; pods that were are refused',
      fix: `weft install --image IMAGE --namespace ${namespace} | kubectl apply --server-side -f -`,
    };
    return { group, summary: 'not installed', findings: [finding] };
  }
  if (nodes === undefined || pods === undefined) return undefined;
  const own = pods.filter((pod) => isTunnelPod(pod, namespace));
  // As in the DaemonSet's node selector.
  const wanted = nodes.filter(
    ({ metadata }) => (metadata.labels?.['kubernetes.io/os'] ?? 'linux') === 'linux',
  );
  const findings = wanted.flatMap((node) => onNode(node, own, namespace));
  return {
    group,
    summary: counted(wanted.length, 'node'),
    findings: [...findings, ...rollout(facts, where), ...versionSkew(facts)],
  };
}

function onNode(
  { metadata, status }: NodeFact,
  pods: readonly PodFact[],
  namespace: string,
): readonly Finding[] {
  const { name } = metadata;
  const here = pods.filter(({ spec }) => spec.nodeName === name);
  if (here.some(isReady)) return [];
  const [pod] = here;
  const ready = status?.conditions?.find(({ type }) => type === 'Ready');
  const isAway = ready !== undefined && ready.status !== 'True';
  const problem = pod === undefined ? 'there is none' : `${pod.metadata.name}: ${podProblem(pod)}`;
  return [
    {
      level: 'error',
      where: `node ${name}`,
      what: `no node tunnel is ready here${isAway ? ', and the node is not Ready' : ''}; ${problem}`,
      why: 'pods of this node that were captured are refused, others are not in the mesh',
      fix:
        pod === undefined
          ? `kubectl -n ${namespace} describe daemonset weft-ztunnel; kubectl describe node ${name}`
          : `kubectl -n ${namespace} logs ${pod.metadata.name} --tail=20; kubectl -n ${namespace} describe pod ${pod.metadata.name}`,
    },
  ];
}

/** Pods of an older template that stay, as with updateStrategy OnDelete or while an update is under way. */
function rollout({ tunnels, namespace }: ClusterFacts, where: string): readonly Finding[] {
  const {
    desiredNumberScheduled = 0,
    updatedNumberScheduled = 0,
    observedGeneration = 0,
  } = tunnels?.status ?? {};
  const isCurrent = observedGeneration >= (tunnels?.metadata.generation ?? 0);
  if (isCurrent && updatedNumberScheduled >= desiredNumberScheduled) return [];
  return [
    {
      level: 'warning',
      where,
      what: `${updatedNumberScheduled} of ${desiredNumberScheduled} pods are of the newest template`,
      why: 'an update is under way or stuck',
      fix: `kubectl -n ${namespace} rollout status daemonset/weft-ztunnel`,
    },
  ];
}

function versionSkew({ page, namespace }: ClusterFacts): readonly Finding[] {
  if ('missing' in page) return [];
  const others = page.nodes.filter(({ version }) => version !== undefined && version !== page.version);
  if (others.length === 0) return [];
  return [
    {
      level: 'warning',
      where: someOf(others.map(({ node, version }) => `node ${node} (${version})`)),
      what: `not of the controller's version ${page.version}`,
      why: 'what is new in one of them does not work on these nodes',
      fix: `kubectl -n ${namespace} rollout restart daemonset/weft-ztunnel`,
    },
  ];
}

export function isTunnelPod({ metadata }: PodFact, namespace: string): boolean {
  return metadata.namespace === namespace && metadata.labels?.['app.kubernetes.io/name'] === 'weft-ztunnel';
}
