// What the main thread and a data worker of a waypoint say to each other. Plain values only: everything survives a
// structured clone. The main thread decides what exists (model, certificate, listeners) and does what needs promises
// (names, tokens, exports); the worker serves connections and reports.

import type { TlsCredentials } from '../mesh/io/tls-context.ts';
import type { IpAddress } from '../mesh/model/ip-address.ts';
import type { ModelDelta } from '../mesh/model/model.ts';
import type { GatewayKey } from '../mesh/model/routing.ts';
import type { ServiceKey } from '../mesh/model/service.ts';
import type { SpiffeId } from '../mesh/model/spiffe-id.ts';
import type { HostnameAnswer } from '../mesh/proxy/hostname-lookups.ts';
import type { LogBatchMessage } from '../mesh/proxy/log-batch.ts';
import type { AccessLogFormat } from '../mesh/proxy/log-line.ts';
import type { WorkerProblem } from '../mesh/proxy/worker-loop.ts';
import type { WaypointSettings } from './data/waypoint-settings.ts';
import type { TokenAnswer, TokenJob } from './jwt/token-job.ts';
import type { SpanMessage } from './telemetry/span-batch.ts';
import type { WaypointMetricsSnapshot } from './telemetry/waypoint-metrics.ts';
import type { WorkerLoad } from './worker-load.ts';

/** `workerData` of a data worker. */
export interface WorkerStart {
  readonly settings: WaypointSettings;
  readonly gateway: GatewayKey;
  readonly logFormat: AccessLogFormat;
  /** Path of the network namespace to serve in; undefined: that of the process. */
  readonly netns: string | undefined;
  /** Of the waypoint's pod; undefined if it is not known. */
  readonly address: IpAddress | undefined;
  /** Shared by the workers, so that they enforce rate limits together; undefined with one worker. */
  readonly limitMemory: SharedArrayBuffer | undefined;
}

/** Listening sockets; the worker owns them from here on. */
export interface WorkerListeners {
  readonly hbone: readonly number[];
  readonly plain: readonly { readonly fd: number; readonly service: ServiceKey; readonly port: number }[];
}

export type ToWorker =
  | { readonly kind: 'model'; readonly delta: ModelDelta }
  | { readonly kind: 'certificate'; readonly spiffeId: SpiffeId; readonly credentials: TlsCredentials }
  /** Serving begins; `listening` follows. */
  | { readonly kind: 'listen'; readonly listeners: WorkerListeners }
  | { readonly kind: 'query'; readonly id: number; readonly what: 'metrics' | 'load' }
  /** The answer to `look-up`. */
  | { readonly kind: 'looked-up'; readonly hostname: string; readonly answer: HostnameAnswer }
  /** The answer to `verify-token`. */
  | { readonly kind: 'token-verified'; readonly answer: TokenAnswer }
  /** Accept nothing more; `drained` comes when the last connection ended. */
  | { readonly kind: 'drain' }
  | { readonly kind: 'stop' };

export type FromWorker =
  | LogBatchMessage
  | WorkerProblem
  | SpanMessage
  | { readonly kind: 'metrics'; readonly id: number; readonly metrics: WaypointMetricsSnapshot }
  | { readonly kind: 'load'; readonly id: number; readonly load: WorkerLoad }
  /** Addresses of a name are needed; one `looked-up` follows. */
  | { readonly kind: 'look-up'; readonly hostname: string }
  /** A token is to be verified; one `token-verified` follows. */
  | { readonly kind: 'verify-token'; readonly job: TokenJob }
  | { readonly kind: 'listening' }
  | { readonly kind: 'drained' };
