// How a controller of a cluster stands with its API server, as its admin page and its metrics show it.

import type { WatchReport } from './source/cluster-source.ts';

export interface ClusterReport {
  /** Scheme, host and port. */
  readonly server: string;
  readonly leading: boolean;
  /** Identity of whoever leads, as far as known; `''` if nobody does. */
  readonly leader: string;
  /** Writes since the start, and objects that are still to be looked at (by the leader). */
  readonly statuses: { readonly written: number; readonly failed: number; readonly waiting: number };
  readonly watches: readonly WatchReport[];
}
