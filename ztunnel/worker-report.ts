// A data worker's reports on their way to the main thread: metrics are counted here, access-log lines are collected and
// handed over in batches, so that logging costs a connection no message of its own. Bounded: what does not fit is
// counted, not kept.

import type { Decision } from '../mesh/authz/policy-set.ts';
import type { Reactor } from '../mesh/io/reactor.ts';
import { defaultMeshConfig, type MeshConfig } from '../mesh/model/mesh-config.ts';
import type { Clock } from '../mesh/runtime/clock.ts';
import { type AccessLogFormat, formatAudit, formatClosed, formatFailed, isLogged } from './access-log.ts';
import type { ConnectionEnd, ConnectionInfo, ResponseFlag } from './connection-info.ts';
import { ConnectionMetrics, type MetricsSnapshot } from './metrics.ts';
import type { Report } from './report.ts';
import type { FromWorker } from './worker-messages.ts';

/** Lines wait at most this long, ms. */
const batchDelayMs = 20;
const maxBatchChars = 256 * 1024;

export class WorkerReport implements Report {
  #reactor: Reactor;
  #clock: Clock;
  #post: (message: FromWorker) => void;
  #format: AccessLogFormat;
  #mode: MeshConfig['accessLog'] = defaultMeshConfig.accessLog;
  #metrics = new ConnectionMetrics();
  #lines: string[] = [];
  #chars = 0;
  #dropped = 0;
  #scheduled = false;

  constructor(
    post: (message: FromWorker) => void,
    options: { readonly reactor: Reactor; readonly clock: Clock; readonly format: AccessLogFormat },
  ) {
    this.#post = post;
    this.#reactor = options.reactor;
    this.#clock = options.clock;
    this.#format = options.format;
  }

  opened(info: ConnectionInfo): void {
    this.#metrics.opened(info);
  }

  closed(info: ConnectionInfo, end: ConnectionEnd): void {
    this.#metrics.closed(info, end);
    if (isLogged(this.#mode, end.error !== undefined)) this.#line(formatClosed(info, end, this.#now()));
  }

  failed(info: ConnectionInfo, flag: ResponseFlag, reason: string): void {
    this.#metrics.failed(info, flag);
    if (isLogged(this.#mode, true)) this.#line(formatFailed(info, { flag, reason }, this.#now()));
  }

  audited(info: ConnectionInfo, audits: Decision['audits']): void {
    this.#line(formatAudit(info, audits, this.#now()));
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
    this.#scheduled = false;
    if (this.#lines.length === 0 && this.#dropped === 0) return;
    this.#post({ kind: 'access-log', text: this.#lines.join(''), dropped: this.#dropped });
    this.#lines = [];
    this.#chars = 0;
    this.#dropped = 0;
  }

  #now(): { endedAt: number; format: AccessLogFormat } {
    return { endedAt: this.#clock.now(), format: this.#format };
  }

  #line(text: string): void {
    if (this.#chars + text.length > maxBatchChars) {
      this.#dropped++;
      return;
    }
    this.#lines.push(text);
    this.#chars += text.length;
    if (this.#scheduled) return;
    this.#scheduled = true;
    this.#reactor.after(batchDelayMs, () => this.flush());
  }
}
