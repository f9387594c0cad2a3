// How the pods of this node stand, put together: what the pod manager does about each, what the last proof said, and which
// older connections still pass the mesh by. For the controller, the pages and the metrics; decides nothing.

import { referencedPod } from '../mesh/model/node-pod.ts';
import type { WorkloadUid } from '../mesh/model/workload.ts';
import { type CaptureState, captureStates, type PodCapture } from '../mesh/node-report/node-report.ts';
import type { Clock } from '../mesh/runtime/clock.ts';
import type { Snapshot } from '../mesh/state/snapshot.ts';
import type { EarlierConnections } from './earlier-connections.ts';
import type { PodManager } from './pod-manager.ts';
import type { ProofState, SelfProbes } from './self-probes.ts';

export interface CaptureReportOptions {
  readonly pods: Pick<PodManager, 'states'>;
  readonly probes: Pick<SelfProbes, 'state'>;
  readonly earlier: Pick<EarlierConnections, 'count'>;
  readonly snapshot: () => Snapshot;
  readonly clock: Clock;
}

type Told = Pick<ProofState, 'state' | 'reason' | 'message'>;

export class CaptureReport {
  readonly #options: CaptureReportOptions;
  /** Since when a pod that is not captured is what it is; those that are captured know it themselves. */
  #since = new Map<WorkloadUid, { readonly state: CaptureState; readonly at: number }>();

  constructor(options: CaptureReportOptions) {
    this.#options = options;
  }

  captures(): PodCapture[] {
    const { pods, probes, earlier, snapshot } = this.#options;
    const known = snapshot().pods;
    const since = new Map<WorkloadUid, { readonly state: CaptureState; readonly at: number }>();
    const captures = pods.states().flatMap(({ uid, state, reason }) => {
      const pod = known.get(uid);
      if (pod === undefined) return [];
      const proof = state === 'captured' ? probes.state(uid) : undefined;
      const told: Told = proof ?? notCaptured(state, reason);
      const at = proof?.since ?? this.#startOf(uid, told.state);
      if (proof === undefined) since.set(uid, { state: told.state, at });
      const { namespace, name, netns } = pod;
      return {
        uid,
        namespace,
        name,
        podUid: referencedPod(netns) ?? '',
        state: told.state,
        reason: told.reason,
        message: told.message,
        since: at,
        earlierConnections: earlier.count(uid),
      };
    });
    this.#since = since;
    return captures;
  }

  /** Pods by state, every state among them, and older connections of all pods. */
  totals(): { readonly pods: Readonly<Record<CaptureState, number>>; readonly earlierConnections: number } {
    const pods = Object.fromEntries(captureStates.map((state) => [state, 0])) as Record<CaptureState, number>;
    let earlierConnections = 0;
    for (const capture of this.captures()) {
      pods[capture.state]++;
      earlierConnections += capture.earlierConnections;
    }
    return { pods, earlierConnections };
  }

  #startOf(uid: WorkloadUid, state: CaptureState): number {
    const before = this.#since.get(uid);
    return before?.state === state ? before.at : this.#options.clock.now();
  }
}

/** `captured` without a proof: the first one is under way. */
function notCaptured(state: 'pending' | 'captured' | 'failed', reason: string | undefined): Told {
  if (state === 'failed') return { state, reason: 'CaptureFailed', message: reason ?? '' };
  return state === 'captured'
    ? { state: 'pending', reason: 'Proving', message: '' }
    : { state, reason: 'Waiting', message: reason ?? '' };
}
