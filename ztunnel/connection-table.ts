// Every connection a worker carries, from before it is authorised to its end. A policy change asks all inbound ones
// again and cuts those that lost permission: a connection is registered before it is authorised, so none is missed.

import { formatHostPort } from '../mesh/model/ip-address.ts';
import type { CapturedPod } from './captured-pod.ts';
import type { ConnectionInfo } from './connection-info.ts';

export interface TrackedConnection {
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
  #connections = new Set<TrackedConnection>();
  #counts = new Map<CapturedPod, number>();

  get size(): number {
    return this.#connections.size;
  }

  add(connection: TrackedConnection): void {
    this.#connections.add(connection);
    this.#counts.set(connection.pod, this.countOf(connection.pod) + 1);
  }

  delete(connection: TrackedConnection): void {
    if (!this.#connections.delete(connection)) return;
    const count = this.countOf(connection.pod) - 1;
    if (count === 0) this.#counts.delete(connection.pod);
    else this.#counts.set(connection.pod, count);
  }

  countOf(pod: CapturedPod): number {
    return this.#counts.get(pod) ?? 0;
  }

  recheckAll(): void {
    for (const connection of [...this.#connections]) connection.recheck();
  }

  /** Cuts the connections of `pod`, or all of them. */
  cutAll(reason: string, pod?: CapturedPod): void {
    for (const connection of [...this.#connections]) {
      if (pod === undefined || connection.pod === pod) connection.cut(reason);
    }
  }

  /** At most `limit` connections, oldest first. */
  summaries(now: number, limit: number): ConnectionSummary[] {
    const list: ConnectionSummary[] = [];
    for (const { pod, info, progress } of this.#connections) {
      if (list.length === limit) break;
      list.push({
        pod: `${pod.pod.namespace}/${pod.pod.name}`,
        direction: info.direction,
        src: formatHostPort(info.sourceAddress, info.sourcePort),
        dst: info.hboneAuthority ?? formatHostPort(info.destinationAddress, info.destinationPort),
        protocol: info.mutualTls ? 'HBONE' : 'TCP',
        ageMs: now - info.startedAt,
        ...progress(),
      });
    }
    return list;
  }
}
