// A data worker's reports: metrics are counted here, access-log lines are made here and go to the main thread in
// batches.

import type { Decision } from '../mesh/authz/policy-set.ts';
import type { Reactor } from '../mesh/io/reactor.ts';
import { defaultMeshConfig, type MeshConfig } from '../mesh/model/mesh-config.ts';
import type { Clock } from '../mesh/runtime/clock.ts';
import { LogBatch } from '../mesh/proxy/log-batch.ts';
import { type AccessLogFormat, isLogged } from '../mesh/proxy/log-line.ts';
import { formatAudit, formatClosed, formatFailed } from './access-log.ts';
import type { ConnectionEnd, ConnectionInfo, ResponseFlag } from './connection-info.ts';
import { ConnectionMetrics, type MetricsSnapshot } from './metrics.ts';
import type { Report } from './report.ts';
import type { FromWorker } from './worker-messages.ts';

export class WorkerReport implements Report {
  #clock: Clock;
  #post: (message: FromWorker) => void;
  #format: AccessLogFormat;
  #mode: MeshConfig['accessLog'] = defaultMeshConfig.accessLog;
  #metrics = new ConnectionMetrics();
  #lines: LogBatch;

  constructor(
    post: (message: FromWorker) => void,
    options: { readonly reactor: Reactor; readonly clock: Clock; readonly format: AccessLogFormat },
  ) {
    this.#post = post;
    this.#lines = new LogBatch(post, options.reactor);
    this.#clock = options.clock;
    this.#format = options.format;
  }

  opened(info: ConnectionInfo): void {
    this.#metrics.opened(info);
  }

  closed(info: ConnectionInfo, end: ConnectionEnd): void {
    this.#metrics.closed(info, end);
    if (isLogged(this.#mode, end.error !== undefined)) this.#lines.add(formatClosed(info, end, this.#now()));
  }

  failed(info: ConnectionInfo, flag: ResponseFlag, reason: string): void {
    this.#metrics.failed(info, flag);
    if (isLogged(this.#mode, true)) this.#lines.add(formatFailed(info, { flag, reason }, this.#now()));
  }

  audited(info: ConnectionInfo, audits: Decision['audits']): void {
    this.#lines.add(formatAudit(info, audits, this.#now()));
  }

  configure(config: MeshConfig): void {
    this.#mode = config.accessLog;
  }

  problem(message: string): void {
    this.#post({ kind: 'log', level: 'warn', message, fields: {} });
  }

  metrics(): MetricsSnapshot {
    return this.#metrics.snapshot();
  }

  /** Hands over what waits. */
  flush(): void {
    this.#lines.flush();
  }

  #now(): { endedAt: number; format: AccessLogFormat } {
    return { endedAt: this.#clock.now(), format: this.#format };
  }
}
