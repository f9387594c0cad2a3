// A data worker's reports: metrics are counted here, access-log lines and spans are made here and go to the main thread in
// batches. Nothing here throws or blocks; what does not fit a batch is counted, not kept.

import type { Header } from '../../mesh/h2/header.ts';
import type { Reactor } from '../../mesh/io/reactor.ts';
import { defaultMeshConfig, type MeshConfig } from '../../mesh/model/mesh-config.ts';
import { LogBatch } from '../../mesh/proxy/log-batch.ts';
import { type AccessLogFormat, isLogged, type LineFormat } from '../../mesh/proxy/log-line.ts';
import type { Clock } from '../../mesh/runtime/clock.ts';
import type { PlaneReport, Refusal } from '../data/plane-report.ts';
import type { ConnectionRecord, RequestRecord } from '../data/request-record.ts';
import type { FromWorker } from '../worker-messages.ts';
import { formatAudit, formatConnection, formatRefusal, formatRequest, requestFailed } from './request-log.ts';
import { makeSpan } from './span.ts';
import { SpanBatch } from './span-batch.ts';
import { continueTrace, type Sampling, type Trace } from './trace-context.ts';
import { newTraceId } from './trace-ids.ts';
import { WaypointMetrics, type WaypointMetricsSnapshot } from './waypoint-metrics.ts';

export interface WorkerReportOptions {
  readonly reactor: Reactor;
  readonly clock: Clock;
  readonly format: AccessLogFormat;
  /** In [0, 1), for sampling; default Math.random. */
  readonly random?: () => number;
}

export class WorkerReport implements PlaneReport {
  readonly #post: (message: FromWorker) => void;
  readonly #options: WorkerReportOptions;
  readonly #metrics = new WaypointMetrics();
  readonly #lines: LogBatch;
  readonly #spans: SpanBatch;
  #mode: MeshConfig['accessLog'] = defaultMeshConfig.accessLog;
  /** Undefined: trace headers pass as they came. */
  #sampling: Sampling | undefined;

  constructor(post: (message: FromWorker) => void, options: WorkerReportOptions) {
    this.#post = post;
    this.#options = options;
    this.#lines = new LogBatch(post, options.reactor);
    this.#spans = new SpanBatch(post, options.reactor);
  }

  started(record: RequestRecord): readonly Header[] | undefined {
    if (this.#sampling === undefined) return undefined;
    const trace = continueTrace(record.request.headers, this.#sampling);
    record.trace = trace;
    return trace.set;
  }

  request(record: RequestRecord): void {
    this.#metrics.request(record);
    const trace = record.trace as Trace | undefined;
    if (trace?.sampled === true) this.#spans.add(makeSpan(record, trace));
    if (record.audits.length > 0) this.#lines.add(formatAudit(record, this.#now()));
    if (isLogged(this.#mode, requestFailed(record)))
      this.#lines.add(formatRequest(record, { ...this.#now(), traceId: trace?.traceId ?? '' }));
  }

  opened(record: ConnectionRecord): void {
    this.#metrics.opened(record);
  }

  connection(record: ConnectionRecord): void {
    this.#metrics.connection(record);
    if (record.audits.length > 0) this.#lines.add(formatAudit(record, this.#now()));
    if (isLogged(this.#mode, record.flag !== '')) this.#lines.add(formatConnection(record, this.#now()));
  }

  refused(refusal: Refusal): void {
    this.#metrics.refused(refusal.status);
    if (isLogged(this.#mode, true)) this.#lines.add(formatRefusal(refusal, this.#now()));
  }

  configure({ accessLog, tracing }: MeshConfig): void {
    this.#mode = accessLog;
    const random = this.#options.random ?? Math.random;
    this.#sampling = tracing && { percent: tracing.samplingPercent, random, newId: newTraceId };
  }

  problem(message: string): void {
    this.#post({ kind: 'log', level: 'warn', message, fields: {} });
  }

  metrics(): WaypointMetricsSnapshot {
    return this.#metrics.snapshot();
  }

  /** Hands over what waits. */
  flush(): void {
    this.#lines.flush();
    this.#spans.flush();
  }

  #now(): LineFormat {
    return { endedAt: this.#options.clock.now(), format: this.#options.format };
  }
}
