// Writes statuses to the API server, by server-side apply on the status subresource where nobody else writes: only while
// leading, only what differs from what the object says already, at most once a second for each object. The queue is a
// set of objects, so however fast a status changes only its last state is written.

import type { Clock, Timer } from '../mesh/runtime/clock.ts';
import type { Logger } from '../mesh/runtime/logger.ts';
import type { ServedKind } from './kubernetes/api-discovery.ts';
import type { KubeClient } from './kubernetes/kube-client.ts';
import { KubeError } from './kubernetes/kube-error.ts';
import { objectPath } from './kubernetes/object-path.ts';
import { formatReference, type KindName, type ObjectReference } from './resources/resources.ts';
import type { LiveStatus } from './source/kind-objects.ts';
import type { ObjectStatus } from './translate/statuses.ts';
import { isSharedStatus, isWritten, type WrittenStatus, writtenStatus } from './written-status.ts';

/** What the writer must know of the cluster. */
export interface StatusView {
  /** The object as the watch saw it last; undefined if it is gone or has no status to write. */
  live(reference: ObjectReference): LiveStatus | undefined;
  served(kind: KindName): ServedKind | undefined;
}

export interface StatusWriterOptions {
  readonly client: Pick<KubeClient, 'request'>;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly view: StatusView;
  /** Writes under way at once; default 4. */
  readonly maxParallel?: number;
}

export const fieldManager = 'weft-controller';

/** Between two writes of one object. */
const intervalMs = 1_000;
/** Until the watch tells of our own write. */
const echoMs = 5_000;
const maxRetryMs = 60_000;

interface Tracked {
  status: ObjectStatus;
  /** Monotonic ms before which it is not written again. */
  notBefore: number;
  failures: number;
  /** What was written last and to which object, until the watch shows it. */
  last: { readonly uid: string; readonly text: string; readonly at: number } | undefined;
}

export class StatusWriter {
  readonly #options: StatusWriterOptions;
  readonly #closing = new AbortController();
  readonly #tracked = new Map<string, Tracked>();
  readonly #queue = new Set<string>();
  readonly #underWay = new Set<Promise<void>>();
  #leading = false;
  #timer: Timer | undefined;
  /** For metrics. */
  readonly counters = { written: 0, failed: 0 };

  constructor(options: StatusWriterOptions) {
    this.#options = options;
  }

  /** Everything translation says now; statuses that are no longer in it are forgotten. */
  update(statuses: readonly ObjectStatus[]): void {
    const present = new Set<string>();
    for (const status of statuses) {
      if (this.#options.view.live(status) === undefined) continue;
      const key = formatReference(status);
      present.add(key);
      const tracked = this.#tracked.get(key);
      if (tracked === undefined) {
        this.#tracked.set(key, { status, notBefore: 0, failures: 0, last: undefined });
      } else tracked.status = status;
      this.#queue.add(key);
    }
    for (const key of this.#tracked.keys()) {
      if (present.has(key)) continue;
      this.#tracked.delete(key);
      this.#queue.delete(key);
    }
    this.#pump();
  }

  /** The object's own status changed: by us, or by somebody who should not have. */
  recheck(reference: ObjectReference): void {
    const key = formatReference(reference);
    if (!this.#tracked.has(key)) return;
    this.#queue.add(key);
    this.#pump();
  }

  /** A new leader looks at every object; one that lost leads nothing more to the API server. */
  lead(leading: boolean): void {
    this.#leading = leading;
    if (leading) {
      for (const [key, tracked] of this.#tracked) {
        this.#queue.add(key);
        // What failed before the lease was lost, mostly for the same reason, need not wait as long now.
        tracked.failures = 0;
        tracked.notBefore = Math.min(tracked.notBefore, this.#options.clock.monotonic() + intervalMs);
      }
    }
    this.#pump();
  }

  /** Objects whose status is still to be looked at or written. */
  get waiting(): number {
    return this.#queue.size + this.#underWay.size;
  }

  async close(): Promise<void> {
    this.#leading = false;
    this.#timer?.cancel();
    this.#closing.abort();
    await Promise.all(this.#underWay);
  }

  #pump(): void {
    this.#timer?.cancel();
    if (!this.#leading || this.#closing.signal.aborted) return;
    const { clock, maxParallel = 4 } = this.#options;
    const now = clock.monotonic();
    let next = Number.POSITIVE_INFINITY;
    for (const key of this.#queue) {
      const tracked = this.#tracked.get(key);
      if (tracked === undefined) {
        this.#queue.delete(key);
        continue;
      }
      if (tracked.notBefore > now) {
        next = Math.min(next, tracked.notBefore);
        continue;
      }
      if (this.#underWay.size >= maxParallel) return;
      this.#queue.delete(key);
      this.#consider(key, tracked);
    }
    if (next < Number.POSITIVE_INFINITY)
      this.#timer = clock.after(next - now, () => this.#pump(), { unref: true });
  }

  #consider(key: string, tracked: Tracked): void {
    const { clock, view } = this.#options;
    const { status } = tracked;
    const live = view.live(status);
    const served = view.served(status.kind);
    if (live === undefined || served === undefined) return;
    const wanted = writtenStatus(status, { current: live.status, now: clock.now() });
    if (isWritten(wanted, live.status)) {
      tracked.last = undefined;
      tracked.failures = 0;
      return;
    }
    const now = clock.monotonic();
    const text = describe(wanted);
    const { last } = tracked;
    if (last?.uid === live.uid && last.text === text && now - last.at < echoMs) {
      // Written, and the watch has not told yet; if it never does, write again.
      tracked.notBefore = last.at + echoMs;
      this.#queue.add(key);
      return;
    }
    tracked.notBefore = now + intervalMs;
    const writing = this.#write(status, { live, served, wanted })
      .then(
        () => this.#onWritten(tracked, { uid: live.uid, text, at: clock.monotonic() }),
        (error: unknown) => this.#onFailure(key, tracked, error),
      )
      .finally(() => {
        this.#underWay.delete(writing);
        this.#pump();
      });
    this.#underWay.add(writing);
  }

  async #write(
    { kind, namespace, name }: ObjectStatus,
    { live, served, wanted }: { live: LiveStatus; served: ServedKind; wanted: WrittenStatus },
  ): Promise<void> {
    const shared = isSharedStatus(kind);
    const query = new URLSearchParams(shared ? { fieldManager } : { fieldManager, force: 'true' });
    // The uid makes the API server refuse to write to another object of the same name. A list that others write to as
    // well is replaced as a whole, and only in the version that was read, so that no entry of theirs is lost.
    const { uid, resourceVersion } = live;
    await this.#options.client.request({
      method: 'PATCH',
      path: `${objectPath(served, { namespace, name })}/status?${query}`,
      contentType: shared ? 'application/merge-patch+json' : 'application/apply-patch+yaml',
      body: shared
        ? { metadata: { uid, resourceVersion }, status: wanted }
        : {
            apiVersion: served.apiVersion,
            kind,
            metadata: { name, uid, ...(namespace === '' ? {} : { namespace }) },
            status: wanted,
          },
      signal: this.#closing.signal,
      timeoutMs: 10_000,
    });
  }

  #onWritten(tracked: Tracked, last: NonNullable<Tracked['last']>): void {
    tracked.failures = 0;
    tracked.last = last;
    this.counters.written += 1;
  }

  #onFailure(key: string, tracked: Tracked, error: unknown): void {
    if (this.#closing.signal.aborted) return;
    this.counters.failed += 1;
    const code = error instanceof KubeError ? error.code : undefined;
    // The object is gone, or another of the same name: the watch will tell.
    if (code === 'NOT_FOUND' || code === 'CONFLICT') return;
    const { clock, logger } = this.#options;
    const wish = error instanceof KubeError ? (error.retryAfterMs ?? 0) : 0;
    const delayMs = Math.min(maxRetryMs, Math.max(wish, intervalMs * 2 ** Math.min(tracked.failures, 6)));
    tracked.failures += 1;
    tracked.notBefore = clock.monotonic() + delayMs;
    this.#queue.add(key);
    const reason = error instanceof Error ? error.message : String(error);
    if (tracked.failures === 1) logger.warn({ object: key, reason }, 'writing a status failed, trying again');
  }
}

/** What was written but for the times. */
function describe(status: WrittenStatus): string {
  return JSON.stringify(status, (key, value: unknown) => (key === 'lastTransitionTime' ? undefined : value));
}
