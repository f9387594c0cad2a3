// The main thread's reports, of connections that no worker carries: counted under the same series, logged in the same
// lines, which are written in batches.

import type { MeshConfig } from '../mesh/model/mesh-config.ts';
import { defaultMeshConfig } from '../mesh/model/mesh-config.ts';
import { type AccessLogFormat, isLogged } from '../mesh/proxy/log-line.ts';
import type { Clock, Timer } from '../mesh/runtime/clock.ts';
import { formatClosed, formatFailed } from './access-log.ts';
import type { ConnectionEnd, ConnectionInfo, ResponseFlag } from './connection-info.ts';
import { ConnectionMetrics, type MetricsSnapshot } from './metrics.ts';
import type { Report } from './report.ts';

export interface SameNodeReportOptions {
  readonly clock: Clock;
  readonly format: AccessLogFormat;
  /** @param dropped lines there was no room for */
  readonly write: (text: string, dropped: number) => void;
}

const flushMs = 20;
const maxLines = 20_000;

export class SameNodeReport implements Pick<Report, 'opened' | 'closed' | 'failed' | 'configure'> {
  #options: SameNodeReportOptions;
  #mode: MeshConfig['accessLog'] = defaultMeshConfig.accessLog;
  #metrics = new ConnectionMetrics();
  #lines: string[] = [];
  #dropped = 0;
  #timer: Timer | undefined;

  constructor(options: SameNodeReportOptions) {
    this.#options = options;
  }

  opened(info: ConnectionInfo): void {
    this.#metrics.opened(info);
  }

  closed(info: ConnectionInfo, end: ConnectionEnd): void {
    this.#metrics.closed(info, end);
    if (isLogged(this.#mode, end.error !== undefined)) this.#add(formatClosed(info, end, this.#now()));
  }

  failed(info: ConnectionInfo, flag: ResponseFlag, reason: string): void {
    this.#metrics.failed(info, flag);
    if (isLogged(this.#mode, true)) this.#add(formatFailed(info, { flag, reason }, this.#now()));
  }

  configure(config: MeshConfig): void {
    this.#mode = config.accessLog;
  }

  metrics(): MetricsSnapshot {
    return this.#metrics.snapshot();
  }

  /** Writes what waits. */
  flush(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    if (this.#lines.length > 0) this.#options.write(this.#lines.join(''), this.#dropped);
    this.#lines = [];
    this.#dropped = 0;
  }

  #add(line: string): void {
    if (this.#lines.length >= maxLines) {
      this.#dropped++;
      return;
    }
    this.#lines.push(line);
    this.#timer ??= this.#options.clock.after(flushMs, () => this.flush());
  }

  #now(): { endedAt: number; format: AccessLogFormat } {
    return { endedAt: this.#options.clock.now(), format: this.#options.format };
  }
}
