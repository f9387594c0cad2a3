// Every connection a worker carries, from before it is authorised to its end. A policy change asks all inbound ones
// again and cuts those that lost permission: a connection is registered before it is authorised, so none is missed.

import { formatHostPort } from '../mesh/model/ip-address.ts';
import { LiveSet, type LiveSetItem } from '../mesh/runtime/live-set.ts';
import type { CapturedPod } from './captured-pod.ts';
import type { ConnectionInfo } from './connection-info.ts';

export interface TrackedConnection extends LiveSetItem {
  readonly pod: CapturedPod;
  readonly info: ConnectionInfo;
  /** Asks the policies again with the current snapshot; cuts itself when they deny. No-op for outbound ones. */
  recheck(): void;
  /** Drops both sides at once, for `reason`. */
  cut(reason: string): void;
  /** Bytes so far, client to server and back. */
  readonly progress: () => { readonly received: number; readonly sent: number };
}

/** For the admin page. */
export interface ConnectionSummary {
  readonly pod: string;
  readonly direction: 'inbound' | 'outbound';
  readonly src: string;
  readonly dst: string;
  /** `KERNEL`: past the proxy, on the same-node path; its bytes are counted at the end. */
  readonly protocol: 'HBONE' | 'TCP' | 'KERNEL';
  readonly ageMs: number;
  readonly received: number;
  readonly sent: number;
}

export class ConnectionTable {
  #connections = new LiveSet<TrackedConnection>();
  /** An object each, that changes: a Map of numbers would be as bad as a Set (see LiveSet). */
  #counts = new WeakMap<CapturedPod, { open: number }>();

  get size(): number {
    return this.#connections.size;
  }

  add(connection: TrackedConnection): void {
    this.#connections.add(connection);
    const count = this.#counts.get(connection.pod);
    if (count === undefined) this.#counts.set(connection.pod, { open: 1 });
    else count.open++;
  }

  delete(connection: TrackedConnection): void {
    if (!this.#connections.delete(connection)) return;
    const count = this.#counts.get(connection.pod);
    if (count !== undefined) count.open--;
  }

  countOf(pod: CapturedPod): number {
    return this.#counts.get(pod)?.open ?? 0;
  }

  recheckAll(): void {
    for (const connection of this.#connections.snapshot()) connection.recheck();
  }

  /** Cuts the connections of `pod`, or all of them. */
  cutAll(reason: string, pod?: CapturedPod): void {
    for (const connection of this.#connections.snapshot()) {
      if (pod === undefined || connection.pod === pod) connection.cut(reason);
    }
  }

  /** At most `limit` connections, oldest first. */
  summaries(now: number, limit: number): ConnectionSummary[] {
    const oldest = this.#connections.snapshot().toSorted((a, b) => a.info.startedAt - b.info.startedAt);
    return oldest.slice(0, limit).map(({ pod, info, progress }) => ({
      pod: `${pod.pod.namespace}/${pod.pod.name}`,
      direction: info.direction,
      src: formatHostPort(info.sourceAddress, info.sourcePort),
      dst: info.hboneAuthority ?? formatHostPort(info.destinationAddress, info.destinationPort),
      protocol: info.mutualTls ? 'HBONE' : 'TCP',
      ageMs: now - info.startedAt,
      ...progress(),
    }));
  }
}
