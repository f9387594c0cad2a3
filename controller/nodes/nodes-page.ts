// Builds the document at /debug/nodes (mesh/node-report/nodes-page.ts): what nodes have reported, and those that have pods
// of the mesh and report nothing.

import type { Model } from '../../mesh/model/model.ts';
import type { NodePod } from '../../mesh/model/node-pod.ts';
import type { PodCapture } from '../../mesh/node-report/node-report.ts';
import type { NodesPage, NodeState, PodCaptureView } from '../../mesh/node-report/nodes-page.ts';
import { conditionOf } from './pod-condition.ts';
import type { NodeTable, NodeView } from './node-table.ts';
import type { HostNetworkPod } from './pod-conditions.ts';

export interface NodesPageParts {
  readonly table: Pick<NodeTable, 'leading' | 'views' | 'captureOf'>;
  readonly model: Pick<Model, 'pods'>;
  readonly hostNetwork: readonly HostNetworkPod[];
  /** Who leads; `''` if nobody does or there is no cluster. */
  readonly leader: string;
  readonly version: string;
  readonly now: number;
}

export function nodesPage(parts: NodesPageParts): NodesPage {
  const { table, model, hostNetwork, leader, version, now } = parts;
  const enrolled = podsByNode(model);
  const views = new Map(table.views().map((view) => [view.node, view]));
  const names = [...new Set([...views.keys(), ...(table.leading ? enrolled.keys() : [])])].toSorted();
  return {
    leading: table.leading,
    leader,
    version,
    now,
    nodes: names
      .map((name) => nodeState(name, { view: views.get(name), pods: enrolled.get(name) ?? [], table }))
      .filter((node) => node !== undefined),
    hostNetworkPods: hostNetwork.map(({ namespace, name }) => `${namespace}/${name}`),
  };
}

/** Pods of the mesh by the state of their capture, for metrics. */
export function captureTotals(
  { pods }: Pick<Model, 'pods'>,
  table: Pick<NodeTable, 'captureOf'>,
): ReadonlyMap<string, number> {
  const totals = new Map<string, number>();
  for (const { node, uid, enrolled } of pods.values()) {
    if (!enrolled) continue;
    const answer = table.captureOf(node, uid);
    const state =
      answer.kind === 'told' ? answer.capture.state : answer.kind === 'untold' ? 'pending' : 'unknown';
    totals.set(state, (totals.get(state) ?? 0) + 1);
  }
  return totals;
}

function podsByNode({ pods }: Pick<Model, 'pods'>): ReadonlyMap<string, readonly NodePod[]> {
  const byNode = new Map<string, NodePod[]>();
  for (const pod of pods.values()) {
    if (!pod.enrolled) continue;
    const known = byNode.get(pod.node);
    if (known === undefined) byNode.set(pod.node, [pod]);
    else known.push(pod);
  }
  return byNode;
}

/** Undefined for a node that has had no time to report yet. */
function nodeState(
  node: string,
  {
    view,
    pods,
    table,
  }: { view: NodeView | undefined; pods: readonly NodePod[]; table: NodesPageParts['table'] },
): NodeState | undefined {
  const states = pods.map((pod) => podState(pod, table)).filter((pod) => pod !== undefined);
  if (view === undefined)
    return states.length === 0 ? undefined : { node, state: 'silent', missingFeatures: [], pods: states };
  const { facts, silent, reportedAt, clockSkewMs } = view;
  // What a node tells of pods that are not its own, or no longer of the mesh, is not shown.
  const shown = {
    node,
    state: silent ? 'silent' : 'reporting',
    reportedAt,
    clockSkewMs,
    pods: states,
  } as const;
  if (facts === undefined) return { ...shown, missingFeatures: [] };
  const { version, kernelRelease, startedAt, workers, cgroupRoot, cni, missingFeatures } = facts;
  return {
    ...shown,
    ...{ version, kernelRelease, startedAt, workers, cgroupRoot, cni },
    missingFeatures: [...missingFeatures],
    ...(facts.certificateExpiry !== undefined && { certificateExpiry: facts.certificateExpiry }),
  };
}

function podState(
  { node, uid, namespace, name }: NodePod,
  table: NodesPageParts['table'],
): PodCaptureView | undefined {
  const answer = table.captureOf(node, uid);
  if (answer.kind === 'told') return told(answer.capture);
  const condition = conditionOf(node, answer);
  if (condition === undefined) return undefined;
  const { reason, message } = condition;
  const state = answer.kind === 'untold' ? 'pending' : 'unknown';
  return { namespace, name, state, reason, message, earlierConnections: 0 };
}

function told({
  namespace,
  name,
  state,
  reason,
  message,
  since,
  earlierConnections,
}: PodCapture): PodCaptureView {
  return { namespace, name, state, reason, message, since, earlierConnections };
}
