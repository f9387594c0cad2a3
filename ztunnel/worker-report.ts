// A data worker's reports on their way to the main thread: access-log lines are collected and handed over in batches,
// so that logging costs a connection no message of its own. Bounded: what does not fit is counted, not kept.

import type { Decision } from '../mesh/authz/policy-set.ts';
import type { IoError } from '../mesh/io/io-error.ts';
import type { Reactor } from '../mesh/io/reactor.ts';
import type { SocketAddress } from '../mesh/io/socket-address.ts';
import type { CapturedPod } from './captured-pod.ts';
import type { ConnectionEnd, ConnectionInfo, ResponseFlag } from './connection-info.ts';
import type { Report } from './report.ts';
import type { DataPlaneSettings, FromWorker } from './worker-messages.ts';

/** Lines wait at most this long. */
const batchDelayMs = 20;
const maxBatchBytes = 256 * 1024;

export class WorkerReport implements Report {
  #reactor: Reactor;
  #post: (message: FromWorker) => void;
  #lines: string[] = [];
  #bytes = 0;
  #dropped = 0;
  #scheduled = false;

  constructor(reactor: Reactor, post: (message: FromWorker) => void, _settings: DataPlaneSettings) {
    this.#reactor = reactor;
    this.#post = post;
  }

  opened(_info: ConnectionInfo): void {}

  closed(info: ConnectionInfo, end: ConnectionEnd): void {
    this.#line(
      `closed ${info.direction} ${info.sourceAddress}:${info.sourcePort} -> ${info.destinationAddress}:${info.destinationPort} ${info.hboneAuthority ?? ''} recv=${end.received} sent=${end.sent} ${end.flag} ${end.error ?? ''}\n`,
    );
  }

  failed(info: ConnectionInfo, flag: ResponseFlag, reason: string): void {
    this.#line(
      `failed ${info.direction} ${info.sourceAddress}:${info.sourcePort} -> ${info.destinationAddress}:${info.destinationPort} ${flag} ${reason}\n`,
    );
  }

  audited(_info: ConnectionInfo, _audits: Decision['audits']): void {}

  handshakeFailed(_pod: CapturedPod, remote: SocketAddress, error: IoError): void {
    this.#line(`handshake failed ${remote.address} ${error.message}\n`);
  }

  problem(message: string): void {
    this.#post({ kind: 'log', level: 'warn', message, fields: {} });
  }

  metrics(): never {
    throw new Error('later');
  }

  /** Hands over what waits. */
  flush(): void {
    this.#scheduled = false;
    if (this.#lines.length === 0 && this.#dropped === 0) return;
    this.#post({ kind: 'access-log', text: this.#lines.join(''), dropped: this.#dropped });
    this.#lines = [];
    this.#bytes = 0;
    this.#dropped = 0;
  }

  #line(text: string): void {
    if (this.#bytes + text.length > maxBatchBytes) {
      this.#dropped++;
      return;
    }
    this.#lines.push(text);
    this.#bytes += text.length;
    if (this.#scheduled) return;
    this.#scheduled = true;
    this.#reactor.after(batchDelayMs, () => this.flush());
  }
}
