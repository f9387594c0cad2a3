// What the node tunnels report about their nodes: kernel, cgroup2, clock, CNI step.

import type { NodeState } from '../../mesh/node-report/nodes-page.ts';
import type { ClusterFacts } from './cluster-facts.ts';
import { type CheckResult, counted, duration, type Finding, someOf } from './finding.ts';

/** From here on a clock is named; nothing is broken by it. */
const notableSkewMs = 2_000;
/** Certificates are backdated by a minute at most: beyond half of that a new one may not be valid yet on the node. */
const harmfulSkewMs = 30_000;

export function checkNodes({ page, namespace, nodes }: ClusterFacts): CheckResult | undefined {
  if ('missing' in page) return undefined;
  const reporting = page.nodes.filter(({ state }) => state === 'reporting');
  const kernels = [...new Set(reporting.flatMap(({ kernelRelease }) => kernelRelease ?? []))].sort();
  const summary = `${counted(reporting.length, 'node')} reporting${kernels.length === 0 ? '' : `, kernel ${someOf(kernels, 3)}`}`;
  const heard = new Set(page.nodes.map(({ node }) => node));
  const unheard = (nodes ?? []).flatMap(({ metadata }) => (heard.has(metadata.name) ? [] : [metadata.name]));
  const findings = [
    ...page.nodes.flatMap((node) => findingsOf(node, { namespace, now: page.now })),
    ...unheard.map((node) => silence(node, 'never', namespace)),
  ];
  return { group: 'Nodes', summary, findings };
}

function findingsOf(
  state: NodeState,
  { namespace, now }: { readonly namespace: string; readonly now: number },
): readonly Finding[] {
  const { node, reportedAt } = state;
  if (state.state === 'silent') {
    return [
      silence(node, reportedAt === undefined ? 'never' : `not for ${duration(now - reportedAt)}`, namespace),
    ];
  }
  return [...missingFeatures(state), ...cgroup(state, namespace), ...clock(state), ...cni(state, namespace)];
}

function silence(node: string, when: string, namespace: string): Finding {
  return {
    level: 'error',
    where: `node ${node}`,
    what: `its tunnel reports to the controller: ${when}`,
    why: 'nobody knows whether its pods are captured; it may be without the newest configuration',
    fix: `kubectl -n ${namespace} get pods -l app.kubernetes.io/name=weft-ztunnel --field-selector spec.nodeName=${node}; its log has the reason`,
  };
}

function missingFeatures({ node, kernelRelease, missingFeatures: missing }: NodeState): readonly Finding[] {
  return missing.map(({ feature, needed, message }) => ({
    level: 'warning',
    where: `node ${node}`,
    what: `its kernel${kernelRelease === undefined ? '' : ` ${kernelRelease}`} has no ${feature}`,
    why: message === '' ? 'what rests on it does not work on this node' : message,
    fix: `needed: ${needed}`,
  }));
}

function cgroup({ node, cgroupRoot }: NodeState, namespace: string): readonly Finding[] {
  if (cgroupRoot !== '') return [];
  return [
    {
      level: 'error',
      where: `node ${node}`,
      what: 'no cgroup2 file system was found',
      why: 'outbound connections of pods are captured by programs at its root; without it none is',
      fix: `mount -t cgroup2 none /sys/fs/cgroup/unified on the node, or boot it with systemd.unified_cgroup_hierarchy=1; then kubectl -n ${namespace} delete its weft-ztunnel pod`,
    },
  ];
}

function clock({ node, clockSkewMs = 0 }: NodeState): readonly Finding[] {
  const skew = Math.abs(clockSkewMs);
  if (skew < notableSkewMs) return [];
  return [
    {
      level: skew < harmfulSkewMs ? 'warning' : 'error',
      where: `node ${node}`,
      what: `its clock is ${duration(skew)} ${clockSkewMs < 0 ? 'behind' : 'ahead of'} the controller's`,
      why: 'certificates are not valid yet, or not any more, where clocks disagree',
      fix: `chronyc makestep on the node (or what keeps its time); date -u to compare`,
    },
  ];
}

function cni({ node, cni: facts }: NodeState, namespace: string): readonly Finding[] {
  if (facts === undefined || facts.state === 'chained') return [];
  const isBroken = facts.state === 'broken';
  return [
    {
      level: isBroken ? 'error' : 'warning',
      where: `node ${node}`,
      what: `the CNI step is ${isBroken ? 'not in the chain' : 'off'}${facts.message === '' ? '' : `: ${facts.message}`}`,
      why: 'a pod that starts here speaks plain TCP until its tunnel has seen it',
      fix: isBroken
        ? `ls /etc/cni/net.d on the node; kubectl -n ${namespace} rollout restart daemonset/weft-ztunnel`
        : `weft install --namespace ${namespace} installs it`,
    },
  ];
}
