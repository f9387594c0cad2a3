// Counts the picks of a balancer that were begun and not closed: at the end of everything there must be none.

import type { Balancer, PickHandle } from '../../mesh/balance/balancer.ts';

/** Watches `balancer` from now on. */
export function openPicks(balancer: Balancer): { readonly open: number } {
  const open = new Set<PickHandle>();
  const begin = balancer.begin.bind(balancer);
  const closed = balancer.closed.bind(balancer);
  const failed = balancer.failed.bind(balancer);
  const connected = balancer.connected.bind(balancer);
  const connectedOnes = new Set<PickHandle>();
  balancer.begin = (handle) => {
    open.add(handle);
    begin(handle);
  };
  balancer.connected = (handle, durationMs, options) => {
    connectedOnes.add(handle);
    connected(handle, durationMs, options);
  };
  balancer.closed = (handle) => {
    open.delete(handle);
    closed(handle);
  };
  balancer.failed = (handle, kind) => {
    // A dial that failed is closed with it; a connection that broke is still to be closed.
    if (!connectedOnes.has(handle)) open.delete(handle);
    return failed(handle, kind);
  };
  return {
    get open() {
      return open.size;
    },
  };
}
