// What a node tunnel tells its controller about itself and about the capture of its pods. Plain values that are the same
// in the tunnel, on the wire (node-report-codec.ts) and in the controller; which node it is says the caller's token, so
// no message names it.

import type { WorkloadUid } from '../model/workload.ts';

/**
 * `captured`: the last proof through the pod's own network namespace came back. `bypassed`: the pod's connections pass the
 * mesh by, so a repair is under way. `failed`: what leads them to the tunnel stands, but they end there.
 */
export const captureStates = ['pending', 'captured', 'failed', 'bypassed'] as const;

export type CaptureState = (typeof captureStates)[number];

export interface PodCapture {
  readonly uid: WorkloadUid;
  readonly namespace: string;
  readonly name: string;
  /** `metadata.uid` of the Kubernetes pod that was captured; `''` where pods are given by path. */
  readonly podUid: string;
  readonly state: CaptureState;
  /** A word in CamelCase, fit for a condition's reason. */
  readonly reason: string;
  /** For people; `''` if the reason says it all. */
  readonly message: string;
  /** Since when it is in this state, ms since the epoch by the node's clock. */
  readonly since: number;
  /** Connections that were open before the pod was captured, and still are: the mesh does not touch them. */
  readonly earlierConnections: number;
}

export interface MissingFeature {
  /** Short and stable, for example `cgroup/getpeername4`. */
  readonly feature: string;
  /** What has it: a kernel version, a package, a privilege. */
  readonly needed: string;
  readonly message: string;
}

/** How the CNI step stands on the node; `off` where none is asked for. */
export interface CniFacts {
  readonly state: 'off' | 'chained' | 'broken';
  readonly message: string;
}

export interface NodeFacts {
  /** Tells the processes of one node apart while two of them run, in an upgrade. */
  readonly instance: string;
  readonly version: string;
  /** As `uname -r`. */
  readonly kernelRelease: string;
  /** ms since the epoch, by the node's clock. */
  readonly startedAt: number;
  readonly workers: number;
  /** Where the cgroup2 tree is that the programs are attached to; `''` if unknown. */
  readonly cgroupRoot: string;
  /** What the tunnel can do without, but lacks; what it needs is in its log, as it does not run then. */
  readonly missingFeatures: readonly MissingFeature[];
  readonly cni: CniFacts;
  /** When the first of its certificates ends, ms since the epoch; undefined while it has none. */
  readonly certificateExpiry: number | undefined;
}

/** One message of the stream. The first is complete; later ones hold what changed since the one before. */
export interface NodeReport {
  readonly complete: boolean;
  /** ms since the epoch by the node's clock when it was sent, by which the controller knows how far that is off. */
  readonly sentAt: number;
  /** Present in the first message and when something of it changed. */
  readonly facts: NodeFacts | undefined;
  readonly pods: readonly PodCapture[];
  readonly removed: readonly WorkloadUid[];
}

/** Pods of one node; more are not captured either (bpf/redirect.ts). */
export const maxReportedPods = 4_096;
/** A node that has nothing to tell says so this often, ms. */
export const heartbeatMs = 10_000;
/** Without a report for this long a node's pods are of unknown state, ms. */
export const silentAfterMs = 30_000;
