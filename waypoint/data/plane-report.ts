// What a data worker tells the outside: metrics, access log, traces, problems. The data path calls these and knows
// nothing of formats; nothing here may throw or block.

import type { Header } from '../../mesh/h2/header.ts';
import type { MeshConfig } from '../../mesh/model/mesh-config.ts';
import type { IpAddress } from '../../mesh/model/ip-address.ts';
import type { ConnectionRecord, RequestRecord } from './request-record.ts';

export interface PlaneReport {
  /** A request's head has come. Returns fields to set on the request to the application (trace context), if any. */
  started(record: RequestRecord): readonly Header[] | undefined;
  /** It ended, whatever the way; once for every `started`. */
  request(record: RequestRecord): void;
  /** A passed-through connection stands: bytes may flow. */
  opened(record: ConnectionRecord): void;
  /** It ended; also one that never stood (then without `opened` before). */
  connection(record: ConnectionRecord): void;
  /** A tunnel or connection that got nowhere: no TLS, an authority that is not served here. */
  refused(refusal: Refusal): void;
  configure(config: MeshConfig): void;
  /** Something of the worker itself. */
  problem(message: string): void;
}

export interface Refusal {
  readonly address: IpAddress;
  readonly port: number;
  readonly spiffeId: string | undefined;
  readonly authority: string;
  /** Status it was answered with; 0 for a handshake that failed. */
  readonly status: number;
  readonly reason: string;
}
