// What the main thread and a data worker say to each other. Plain values only: everything survives a structured clone.
// The main thread decides what exists (model, certificates, pods); the worker serves connections and reports.

import type { FlowMapFds } from '../bpf/flow-maps.ts';
import type { LivenessOptions } from '../mesh/hbone/tunnel-settings.ts';
import type { TlsCredentials } from '../mesh/io/tls-context.ts';
import type { ModelDelta } from '../mesh/model/model.ts';
import type { NodePod } from '../mesh/model/node-pod.ts';
import type { SpiffeId } from '../mesh/model/spiffe-id.ts';
import type { WorkloadUid } from '../mesh/model/workload.ts';
import type { ConnectionSummary } from './connection-table.ts';
import type { HostnameAnswer } from '../mesh/proxy/hostname-lookups.ts';
import type { LogBatchMessage } from '../mesh/proxy/log-batch.ts';
import type { WorkerProblem } from '../mesh/proxy/worker-loop.ts';
import type { MetricsSnapshot } from './metrics.ts';
import type { ProvenConnection } from './same-node.ts';
import type { DrainKind } from './worker-drain.ts';

/** Tunables of the data path; see config.ts for their meaning, defaults and ranges. */
export interface DataPlaneSettings {
  readonly connectTimeoutMs: number;
  readonly handshakeTimeoutMs: number;
  readonly idleTimeoutMs: number;
  readonly halfClosedTimeoutMs: number;
  readonly liveness: LivenessOptions;
  /** Data workers of the node: limits of a whole node are shared out. */
  readonly workers: number;
  readonly maxConnections: number;
  readonly bufferBudgetBytes: number;
  readonly logFormat: 'text' | 'json';
}

/** `workerData` of a data worker. */
export interface WorkerStart {
  readonly settings: DataPlaneSettings;
  readonly flowMaps: FlowMapFds;
  /** What makes its answers to self-probes its own (self-probe-proof.ts). */
  readonly selfProbe: { readonly secret: string; readonly worker: number };
}

/** A pod's network namespace and listening sockets in it; the worker owns the descriptors from here on. */
export interface PodListeners {
  /** By descriptor: until the worker reads this, a path may have come to mean another pod's. */
  readonly netns: number;
  readonly outbound: readonly number[];
  readonly hbone: readonly number[];
  readonly plaintext: readonly number[];
}

export interface WorkerPod {
  readonly pod: NodePod;
  readonly listeners: PodListeners;
}

/**
 * A pod that left the mesh can still be tunnelled to for this long, ms, and keeps its certificate: by then every node has
 * heard of it.
 */
export const leavingLingerMs = 5_000;

export type ToWorker =
  | { readonly kind: 'model'; readonly delta: ModelDelta }
  | { readonly kind: 'certificate'; readonly spiffeId: SpiffeId; readonly credentials: TlsCredentials }
  | { readonly kind: 'certificate-removed'; readonly spiffeId: SpiffeId }
  | { readonly kind: 'pod-added'; readonly workerPod: WorkerPod }
  /** `drain`: what is open finishes (unenrolled). `now`: the pod is gone, everything is dropped. */
  | { readonly kind: 'pod-removed'; readonly uid: WorkloadUid; readonly how: 'drain' | 'now' }
  | { readonly kind: 'query'; readonly id: number; readonly what: 'metrics' | 'connections' }
  /** The answer to `look-up`. */
  | { readonly kind: 'looked-up'; readonly hostname: string; readonly answer: HostnameAnswer }
  /** `drained` comes when the last connection ended. */
  | { readonly kind: 'drain'; readonly how: DrainKind }
  | { readonly kind: 'stop' };

export type FromWorker =
  | LogBatchMessage
  | WorkerProblem
  | { readonly kind: 'metrics'; readonly id: number; readonly metrics: MetricsSnapshot }
  | { readonly kind: 'connections'; readonly id: number; readonly connections: readonly ConnectionSummary[] }
  /** Addresses of a name are needed; one `looked-up` follows. */
  | { readonly kind: 'look-up'; readonly hostname: string }
  /** Two pods of this node talk, and both ends agreed. */
  | { readonly kind: 'proven'; readonly connection: ProvenConnection }
  | { readonly kind: 'drained' }
  | { readonly kind: 'stopped' };
