// Whether every pod that belongs to the mesh is captured, as the live probe through its own network namespace says.

import type { NodeState, PodCaptureView } from '../../mesh/node-report/nodes-page.ts';
import type { ClusterFacts } from './cluster-facts.ts';
import { type CheckResult, counted, duration, type Finding, someOf } from './finding.ts';

/** A pod that starts takes a second or two. */
const stuckAfterMs = 30_000;

type Stay = PodCaptureView & { readonly node: string; readonly pendingMs: number };

export function checkCaptures({ page, namespace }: ClusterFacts): CheckResult | undefined {
  if ('missing' in page) return undefined;
  const pods = page.nodes.flatMap((node) => node.pods.map((pod) => withNode(pod, node, page.now)));
  const captured = pods.filter(({ state }) => state === 'captured').length;
  const findings = [
    ...pods.flatMap((pod) => findingOf(pod, namespace)),
    ...earlier(pods),
    ...hostNetwork(page.hostNetworkPods),
  ];
  return { group: 'Pods', summary: `${captured} of ${pods.length} captured`, findings };
}

function withNode(pod: PodCaptureView, { node, clockSkewMs = 0 }: NodeState, now: number): Stay {
  // By the node's clock, as `since` is.
  return { ...pod, node, pendingMs: now + clockSkewMs - (pod.since ?? now + clockSkewMs) };
}

function findingOf(pod: Stay, meshNamespace: string): readonly Finding[] {
  const { state, reason, message, node, pendingMs } = pod;
  const because = [reason, message].filter((text) => text !== '').join(': ');
  const where = `pod ${pod.namespace}/${pod.name}`;
  const tunnel = `the weft-ztunnel pod of node ${node} (kubectl -n ${meshNamespace} get pods -o wide)`;
  const fix = `kubectl -n ${pod.namespace} describe pod ${pod.name}; then the log of ${tunnel}`;
  const since = pod.since === undefined ? '' : ` for ${duration(pendingMs)}`;
  const what = `is ${state}${since}${because === '' ? '' : ` (${because})`}`;
  switch (state) {
    case 'captured':
      return [];
    case 'pending':
      return [
        {
          level: pendingMs < stuckAfterMs ? 'warning' : 'error',
          where,
          what,
          why: 'it has no identity yet: destinations in STRICT mode refuse it, others take its plain TCP',
          fix,
        },
      ];
    case 'failed':
      return [
        { level: 'error', where, what, why: 'its connections end in a capture that nobody serves', fix },
      ];
    case 'bypassed':
      return [
        {
          level: 'error',
          where,
          what,
          why: 'its connections go past the mesh, without encryption, identity and policy',
          fix: `${fix}; a CNI or another mesh that handles its sockets first is the usual cause`,
        },
      ];
    case 'unknown':
      return [{ level: 'warning', where, what, why: 'its node does not report', fix: `look at ${tunnel}` }];
  }
}

/** Not a fault, but what an operator who looks for plaintext must know. */
function earlier(pods: readonly Stay[]): readonly Finding[] {
  const open = pods.filter(({ earlierConnections }) => earlierConnections > 0);
  if (open.length === 0) return [];
  const count = open.reduce((sum, { earlierConnections }) => sum + earlierConnections, 0);
  const names = open.map(({ namespace, name }) => `${namespace}/${name}`);
  return [
    {
      level: 'warning',
      where: someOf(names),
      what: `${counted(count, 'connection')} ${count === 1 ? 'is' : 'are'} older than the capture`,
      why: 'they go on in plain TCP until they end',
      fix: 'restart the pods if they must end now: kubectl rollout restart',
    },
  ];
}

function hostNetwork(names: readonly string[]): readonly Finding[] {
  if (names.length === 0) return [];
  return [
    {
      level: 'warning',
      where: someOf(names),
      what: `${counted(names.length, 'pod')} of the mesh's namespaces on the network of ${names.length === 1 ? 'its' : 'their'} node`,
      why: 'such pods are never captured; to others they are outside the mesh',
      fix: 'take hostNetwork from them, or label them weft.dev/mode=none, which says it is meant',
    },
  ];
}
