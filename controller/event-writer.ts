// Kubernetes events for what an operator must see: a condition that turned bad, on the object it is about. An event's
// name is made of what it says, so a new leader, or a condition that comes and goes, does not repeat it while the API
// server still has it (an hour). Events are a courtesy: one that cannot be written is dropped.

import { createHash } from 'node:crypto';
import type { Clock } from '../mesh/runtime/clock.ts';
import type { Logger } from '../mesh/runtime/logger.ts';
import type { KubeClient } from './kubernetes/kube-client.ts';
import { KubeError } from './kubernetes/kube-error.ts';
import { formatReference, type ObjectReference } from './resources/resources.ts';
import { allConditions, isBadCondition, type ObjectStatus } from './translate/statuses.ts';

export interface EventWriterOptions {
  readonly client: Pick<KubeClient, 'request'>;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Of an object that exists now. */
  readonly identify: (
    reference: ObjectReference,
  ) => { readonly uid: string; readonly apiVersion: string } | undefined;
  /** Name of this replica. */
  readonly instance: string;
}

/** Of core/v1. */
const maxMessage = 1_024;
/** Waiting to be written; beyond it events are dropped, conditions and logs still tell. */
const maxQueue = 500;

interface Pending {
  readonly reference: ObjectReference;
  readonly reason: string;
  readonly message: string;
}

export class EventWriter {
  readonly #options: EventWriterOptions;
  readonly #closing = new AbortController();
  #told = new Set<string>();
  #statuses: readonly ObjectStatus[] = [];
  #queue: Pending[] = [];
  #running: Promise<void> | undefined;
  #leading = false;

  constructor(options: EventWriterOptions) {
    this.#options = options;
  }

  update(statuses: readonly ObjectStatus[]): void {
    this.#statuses = statuses;
    if (this.#leading) this.#tell();
  }

  lead(leading: boolean): void {
    this.#leading = leading;
    if (leading) this.#tell();
    else this.#queue = [];
  }

  async close(): Promise<void> {
    this.#closing.abort();
    this.#queue = [];
    await this.#running;
  }

  #tell(): void {
    const told = new Set<string>();
    for (const status of this.#statuses) {
      for (const { type, status: value, reason, message } of allConditions(status)) {
        if (!isBadCondition({ type, status: value })) continue;
        const key = keyOf({ reference: status, reason, message });
        told.add(key);
        if (!this.#told.has(key) && this.#queue.length < maxQueue) {
          this.#queue.push({ reference: status, reason, message });
        }
      }
    }
    this.#told = told;
    this.#running ??= this.#drain().finally(() => {
      this.#running = undefined;
    });
  }

  async #drain(): Promise<void> {
    for (let event = this.#queue.shift(); event !== undefined; event = this.#queue.shift()) {
      if (this.#closing.signal.aborted) return;
      const key = keyOf(event);
      await this.#write(event).catch((error: unknown) => {
        // 409: said before.
        if (error instanceof KubeError && error.code === 'CONFLICT') return;
        if (this.#closing.signal.aborted) return;
        // Told after all the next time, by whoever leads then.
        this.#told.delete(key);
        const reason = error instanceof Error ? error.message : String(error);
        this.#options.logger.debug({ reason }, 'event could not be written');
      });
    }
  }

  async #write({ reference, reason, message }: Pending): Promise<void> {
    const { client, clock, identify, instance } = this.#options;
    const known = identify(reference);
    if (known === undefined) return;
    const { kind, name } = reference;
    // Events of cluster-scoped objects are in "default", where kubectl describe looks for them.
    const namespace = reference.namespace === '' ? 'default' : reference.namespace;
    const time = `${new Date(clock.now()).toISOString().slice(0, 19)}Z`;
    const hash = createHash('sha256').update(`${known.uid} ${reason} ${message}`).digest('hex').slice(0, 16);
    const body = {
      apiVersion: 'v1',
      kind: 'Event',
      metadata: { name: `${name.slice(0, 200)}.${hash}`, namespace },
      involvedObject: {
        apiVersion: known.apiVersion,
        kind,
        name,
        uid: known.uid,
        ...(reference.namespace === '' ? {} : { namespace: reference.namespace }),
      },
      type: 'Warning',
      reason,
      message: message.length <= maxMessage ? message : `${message.slice(0, maxMessage - 3)}...`,
      source: { component: 'weft-controller' },
      reportingComponent: 'weft-controller',
      reportingInstance: instance,
      firstTimestamp: time,
      lastTimestamp: time,
      count: 1,
    };
    const path = `/api/v1/namespaces/${namespace}/events`;
    await client.request({ method: 'POST', path, body, signal: this.#closing.signal, timeoutMs: 10_000 });
  }
}

function keyOf({ reference, reason, message }: Pending): string {
  return `${formatReference(reference)} ${reason} ${message}`;
}
