// Connections that were open before their pod was captured: the mesh leaves them alone until they end, so they bypass it,
// and somebody should be able to see that. Found just before capture, counted again now and then until none is left.

import { type OpenConnection, openConnections } from '../bpf/open-connections.ts';
import { withNetns } from '../mesh/io/netns.ts';
import { isLoopback } from '../mesh/model/ip-address.ts';
import type { NodePod } from '../mesh/model/node-pod.ts';
import type { WorkloadUid } from '../mesh/model/workload.ts';
import type { Clock, Timer } from '../mesh/runtime/clock.ts';
import type { Logger } from '../mesh/runtime/logger.ts';
import { isMeshPort } from './ports.ts';

export interface EarlierConnectionsOptions {
  /** Established connections of the calling thread's namespace, at most `limit`. */
  readonly list: (limit: number) => readonly OpenConnection[];
  readonly clock: Clock;
  readonly logger: Logger;
  /** A count changed. */
  readonly onChange: () => void;
}

/** The redirect's own look at it. @param sockets descriptor of its map of sockets */
export function listOpenConnections(sockets: () => number): EarlierConnectionsOptions['list'] {
  return (limit) => openConnections(sockets(), limit);
}

/** Of one pod; what is above is not looked for. */
const maxCounted = 10_000;
const recountMs = 15_000;

interface Counted {
  readonly netnsPath: string;
  /** Sockets' cookies; only ever shrinks. */
  open: ReadonlySet<bigint>;
}

export class EarlierConnections {
  readonly #options: EarlierConnectionsOptions;
  readonly #pods = new Map<WorkloadUid, Counted>();
  #timer: Timer | undefined;

  constructor(options: EarlierConnectionsOptions) {
    this.#options = options;
  }

  /**
   * To be called just before a pod is captured for the first time by this process. What an earlier process led is known to
   * the kernel and not counted; what that one let into the pod is, as long as it lives: plaintext from outside the mesh that
   * it still serves in an upgrade, and the accepting ends of the same-node path.
   */
  begin(pod: NodePod, netnsPath: string): void {
    const open = this.#look(netnsPath, (connection) => isEarlier(connection, pod));
    if (open === undefined || open.size === 0) return void this.#pods.delete(pod.uid);
    this.#pods.set(pod.uid, { netnsPath, open });
    this.#schedule();
    this.#options.onChange();
  }

  end(uid: WorkloadUid): void {
    this.#pods.delete(uid);
  }

  count(uid: WorkloadUid): number {
    return this.#pods.get(uid)?.open.size ?? 0;
  }

  close(): void {
    this.#timer?.cancel();
    this.#pods.clear();
  }

  #schedule(): void {
    if (this.#timer !== undefined || this.#pods.size === 0) return;
    this.#timer = this.#options.clock.after(recountMs, () => this.#recount(), { unref: true });
  }

  #recount(): void {
    this.#timer = undefined;
    let changed = false;
    for (const [uid, pod] of this.#pods) {
      const before = pod.open;
      // A namespace that can not be looked into has no connections any more.
      pod.open = this.#look(pod.netnsPath, ({ cookie }) => before.has(cookie)) ?? new Set();
      changed ||= pod.open.size !== before.size;
      if (pod.open.size === 0) this.#pods.delete(uid);
    }
    if (changed) this.#options.onChange();
    this.#schedule();
  }

  #look(netnsPath: string, counts: (connection: OpenConnection) => boolean): Set<bigint> | undefined {
    try {
      const all = withNetns(netnsPath, () => this.#options.list(maxCounted));
      return new Set(all.filter(counts).map(({ cookie }) => cookie));
    } catch (err) {
      this.#options.logger.debug({ err, netnsPath }, 'Connections of a pod could not be counted');
      return undefined;
    }
  }
}

/** Neither within the pod, which the mesh never touches, nor the tunnel's. */
function isEarlier({ local, remote, known }: OpenConnection, { addresses }: NodePod): boolean {
  return (
    !known && !isLoopback(remote.address) && !addresses.includes(remote.address) && !isMeshPort(local.port)
  );
}
