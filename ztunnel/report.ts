// What a data worker tells the outside about its connections: metrics, access log, problems. The connection code calls
// these and knows nothing of formats; nothing here may throw or block.

import type { Decision } from '../mesh/authz/policy-set.ts';
import type { MeshConfig } from '../mesh/model/mesh-config.ts';
import type { ConnectionEnd, ConnectionInfo, ResponseFlag } from './connection-info.ts';

export interface Report {
  /** Both sides stand and bytes may flow. */
  opened(info: ConnectionInfo): void;
  /** Ends what `opened` began. */
  closed(info: ConnectionInfo, end: ConnectionEnd): void;
  /** A connection that was never opened. */
  failed(info: ConnectionInfo, flag: ResponseFlag, reason: string): void;
  /** AUDIT and dry-run policies that matched. */
  audited(info: ConnectionInfo, audits: Decision['audits']): void;
  /** Which connections are logged from now on. */
  configure(config: MeshConfig): void;
  /** Something of the worker itself. */
  problem(message: string): void;
}
