// Has every node cleaned by its own tunnel: the DaemonSet's pods are replaced by ones that detach all pods, remove what was
// pinned, chained and written on the node, and then only stay. What was open in a replaced pod has its grace time.
// A node that is not Ready can not do that; it is named, and nothing else is taken from it.

import type { KubeClient } from '../../controller/kubernetes/kube-client.ts';
import { waitFor } from '../../controller/kubernetes/wait.ts';
import type { Clock } from '../../mesh/runtime/clock.ts';
import type { NodeFact, PodFact, WorkloadFact } from '../check/cluster-facts.ts';
import { isReady, podProblem } from '../check/pod-problem.ts';
import { orMissing } from './kube-objects.ts';

/** Of the ztunnel program (ztunnel/config.ts). */
export const cleanFlag = '--remove-node-state=true';

export interface CleanOptions {
  readonly client: Pick<KubeClient, 'request'>;
  readonly clock: Clock;
  readonly namespace: string;
  /** Told when the number of nodes that are clean changes. */
  readonly onProgress: (clean: number, all: number) => void;
}

export interface UncleanNode {
  readonly node: string;
  /** Ready, so it could have been cleaned. */
  readonly isReady: boolean;
  /** For people. */
  readonly reason: string;
}

export interface CleanOutcome {
  readonly clean: readonly string[];
  readonly failed: readonly UncleanNode[];
}

interface RollingUpdate {
  readonly maxSurge: number | string;
  readonly maxUnavailable: number | string;
}

interface DaemonSet extends WorkloadFact {
  readonly spec: WorkloadFact['spec'] & {
    readonly updateStrategy?: { readonly rollingUpdate?: Partial<RollingUpdate> };
    readonly template: {
      readonly spec: {
        readonly terminationGracePeriodSeconds?: number;
        readonly containers: readonly { readonly name: string; readonly args?: readonly string[] }[];
      };
    };
  };
}

const pollMs = 500;
/** Two rounds of a pod that cleans (ztunnel/node-state.ts). */
const settleMs = 2_000;
/** For a new pod to be scheduled, to start and to clean, beyond the grace time of the old one. */
const startMs = 90_000;

/** Idempotent: goes on where an earlier run ended. Undefined: there is no DaemonSet. Rejects with KubeError. */
export async function cleanNodes(options: CleanOptions): Promise<CleanOutcome | undefined> {
  const { client, clock, namespace } = options;
  const path = `/apis/apps/v1/namespaces/${namespace}/daemonsets/weft-ztunnel`;
  const daemonSet = await orMissing(client.request<DaemonSet>({ path }));
  if (daemonSet === undefined) return undefined;
  const before = daemonSet.spec.template.spec.containers[0]?.args ?? [];
  if (!before.includes(cleanFlag))
    await client.request(
      patchOf(path, daemonSet, { args: [...before, cleanFlag], rollingUpdate: atOnce(daemonSet) }),
    );
  const graceMs = (daemonSet.spec.template.spec.terminationGracePeriodSeconds ?? 30) * 1000;
  const outcome = await waitUntilClean(options, clock.monotonic() + graceMs + startMs);
  // What an old pod put back in its last moment goes in the next round of those that clean.
  if (outcome.clean.length > 0) await waitFor(clock, settleMs, new AbortController().signal);
  // An image that does not know how: nodes go on as they were, rather than without a tunnel.
  if (isHopeless(outcome) && !before.includes(cleanFlag))
    await client.request(
      patchOf(path, daemonSet, { args: before, rollingUpdate: rollingUpdateOf(daemonSet) }),
    );
  return outcome;
}

/** No node could do it although there are some that should. */
export function isHopeless({ clean, failed }: CleanOutcome): boolean {
  return clean.length === 0 && failed.some(({ isReady: could }) => could);
}

/** All nodes; with the old pod beside the new one where the DaemonSet is made for that. */
function atOnce(daemonSet: DaemonSet): RollingUpdate {
  const { maxSurge } = rollingUpdateOf(daemonSet);
  const overlaps = maxSurge !== 0 && maxSurge !== '0%';
  return overlaps ? { maxSurge: '100%', maxUnavailable: 0 } : { maxSurge: 0, maxUnavailable: '100%' };
}

/** With what the API server takes where nothing is said. */
function rollingUpdateOf({ spec }: DaemonSet): RollingUpdate {
  return { maxSurge: 0, maxUnavailable: 1, ...spec.updateStrategy?.rollingUpdate };
}

function patchOf(
  path: string,
  { spec }: DaemonSet,
  { args, rollingUpdate }: { readonly args: readonly string[]; readonly rollingUpdate: RollingUpdate },
) {
  const { name } = spec.template.spec.containers[0] ?? { name: 'ztunnel' };
  const updateStrategy = { type: 'RollingUpdate', rollingUpdate };
  const template = { spec: { containers: [{ name, args }] } };
  const contentType = 'application/strategic-merge-patch+json';
  return { method: 'PATCH', path, contentType, body: { spec: { updateStrategy, template } } } as const;
}

async function waitUntilClean(options: CleanOptions, deadline: number): Promise<CleanOutcome> {
  const { client, clock, namespace, onProgress } = options;
  const { signal } = new AbortController();
  let told = -1;
  for (;;) {
    const { items: nodes } = await client.request<{ items: readonly NodeFact[] }>({ path: '/api/v1/nodes' });
    const { items: pods } = await client.request<{ items: readonly PodFact[] }>({
      path: `/api/v1/namespaces/${namespace}/pods?labelSelector=app.kubernetes.io%2Fname%3Dweft-ztunnel`,
    });
    const outcome = judge(nodes, pods);
    if (outcome.clean.length !== told)
      onProgress((told = outcome.clean.length), told + outcome.failed.length);
    const canGoOn = outcome.failed.some(({ isReady: could }) => could);
    if (!canGoOn || clock.monotonic() > deadline) return outcome;
    await waitFor(clock, pollMs, signal);
  }
}

function judge(nodes: readonly NodeFact[], pods: readonly PodFact[]): CleanOutcome {
  const clean: string[] = [];
  const failed: UncleanNode[] = [];
  // As in the DaemonSet's node selector.
  for (const node of nodes.filter(
    ({ metadata }) => (metadata.labels?.['kubernetes.io/os'] ?? 'linux') === 'linux',
  )) {
    const { name } = node.metadata;
    const here = pods.filter(({ spec }) => spec.nodeName === name);
    const cleaners = here.filter(isCleaner);
    // While an old one is there it still holds what it captured.
    if (cleaners.some(isReady) && here.every(isCleaner)) {
      clean.push(name);
      continue;
    }
    const [cleaner] = cleaners;
    const reason = isNodeReady(node)
      ? cleaner === undefined
        ? 'its node tunnel was not replaced in time'
        : `${cleaner.metadata.name}: ${podProblem(cleaner)}`
      : 'the node is not Ready';
    failed.push({ node: name, isReady: isNodeReady(node), reason });
  }
  return { clean, failed };
}

function isCleaner({ spec }: PodFact): boolean {
  return spec.containers.some(({ args = [] }) => args.includes(cleanFlag));
}

function isNodeReady(node: NodeFact | undefined): boolean {
  return node?.status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True') ?? false;
}
