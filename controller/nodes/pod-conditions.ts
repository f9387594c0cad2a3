// Keeps the condition `weft.dev/Captured` of every pod of the mesh as the nodes report it: only while leading, only what
// differs from what the pod says already, a few writes at a time and a bounded number a second. Everything else in a
// pod's status is left alone (strategic merge by type). A pod that left the mesh loses the condition.

import type { Model } from '../../mesh/model/model.ts';
import { type NodePod, referencedPod } from '../../mesh/model/node-pod.ts';
import type { WorkloadUid } from '../../mesh/model/workload.ts';
import type { Clock, Timer } from '../../mesh/runtime/clock.ts';
import type { Logger } from '../../mesh/runtime/logger.ts';
import type { KubeClient } from '../kubernetes/kube-client.ts';
import { KubeError } from '../kubernetes/kube-error.ts';
import { type ObjectKey, objectKey } from '../resources/resources.ts';
import type { LiveCondition } from './live-condition.ts';
import type { NodeTable } from './node-table.ts';
import {
  capturedConditionType,
  conditionOf,
  hostNetworkCondition,
  type PodCondition,
} from './pod-condition.ts';

export interface PodConditionsOptions {
  readonly client: Pick<KubeClient, 'request'>;
  readonly table: Pick<NodeTable, 'captureOf'>;
  /** As the watch saw it last; undefined if the pod has none. */
  readonly live: (key: ObjectKey) => LiveCondition | undefined;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** A pod on the network of its node, in the mesh by its labels. */
export interface HostNetworkPod {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
}

/** What the condition of a pod follows from. */
interface Subject {
  readonly key: ObjectKey;
  readonly namespace: string;
  readonly name: string;
  /** `metadata.uid`. */
  readonly podUid: string;
  readonly about:
    | { readonly kind: 'pod'; readonly node: string; readonly uid: WorkloadUid }
    | { readonly kind: 'host-network' }
    /** Not of the mesh (any more). */
    | { readonly kind: 'none' };
}

const maxParallel = 4;
/** Between two writes of all: 50 a second at most. */
const paceMs = 20;
/** Before the first word about a pod that is not captured: mostly it is, a moment later. */
const patienceMs = 3_000;
/** Until the watch tells of our own write. */
const echoMs = 5_000;
const maxRetryMs = 60_000;

export class PodConditions {
  readonly #options: PodConditionsOptions;
  readonly #closing = new AbortController();
  #subjects: ReadonlyMap<ObjectKey, Subject> = new Map();
  /** Monotonic ms from which a pod is looked at. */
  readonly #due = new Map<ObjectKey, number>();
  /** What was written last, until the watch shows it. */
  readonly #written = new Map<ObjectKey, { readonly text: string; readonly at: number }>();
  readonly #underWay = new Set<Promise<void>>();
  /** Monotonic ms before which nothing is written. */
  #nextAt = 0;
  #failures = 0;
  #leading = false;
  #timer: Timer | undefined;
  readonly counters = { written: 0, failed: 0 };

  constructor(options: PodConditionsOptions) {
    this.#options = options;
  }

  /** Everything translation says now. */
  update(model: Pick<Model, 'pods'>, hostNetwork: readonly HostNetworkPod[]): void {
    const subjects = new Map<ObjectKey, Subject>();
    for (const pod of model.pods.values()) {
      const subject = subjectOf(pod);
      if (subject !== undefined) subjects.set(subject.key, subject);
    }
    for (const { namespace, name, uid } of hostNetwork) {
      const key = objectKey(namespace, name);
      subjects.set(key, { key, namespace, name, podUid: uid, about: { kind: 'host-network' } });
    }
    const before = this.#subjects;
    this.#subjects = subjects;
    for (const key of this.#written.keys()) if (!subjects.has(key)) this.#written.delete(key);
    this.#lookAt((subject, key) => !isSameSubject(before.get(key), subject));
  }

  /** What a node said changed, or fell silent; undefined: look at all. */
  nodeChanged(node: string | undefined): void {
    this.#lookAt(({ about }) => node === undefined || (about.kind === 'pod' && about.node === node));
  }

  /** Somebody, mostly we, changed the status of a pod. */
  recheck(key: ObjectKey): void {
    if (!this.#leading || !this.#subjects.has(key) || this.#due.has(key)) return;
    this.#due.set(key, 0);
    this.#pump();
  }

  lead(leading: boolean): void {
    this.#leading = leading;
    if (leading) return this.#lookAt(() => true);
    this.#timer?.cancel();
    this.#due.clear();
    this.#written.clear();
  }

  async close(): Promise<void> {
    this.lead(false);
    this.#closing.abort();
    await Promise.all(this.#underWay);
  }

  #lookAt(concerned: (subject: Subject, key: ObjectKey) => boolean): void {
    if (!this.#leading) return;
    for (const [key, subject] of this.#subjects) {
      if (!concerned(subject, key) || this.#wanted(key, subject) === undefined) continue;
      if (!this.#due.has(key) || this.#isGood(subject)) this.#due.set(key, this.#firstLook(key, subject));
    }
    this.#pump();
  }

  /** A pod that has no condition yet is not told in vain what will be over in a moment. */
  #firstLook(key: ObjectKey, subject: Subject): number {
    if (this.#isGood(subject) || subject.about.kind !== 'pod' || this.#options.live(key) !== undefined)
      return 0;
    return this.#options.clock.monotonic() + patienceMs;
  }

  #isGood({ about }: Subject): boolean {
    if (about.kind !== 'pod') return false;
    const answer = this.#options.table.captureOf(about.node, about.uid);
    return answer.kind === 'told' && answer.capture.state === 'captured';
  }

  /** What is to be written; `'none'` to take the condition away; undefined if all is as it should be. */
  #wanted(key: ObjectKey, { about }: Subject): PodCondition | 'none' | undefined {
    const live = this.#options.live(key);
    if (about.kind === 'none') return live === undefined ? undefined : 'none';
    const condition =
      about.kind === 'host-network'
        ? hostNetworkCondition
        : conditionOf(about.node, this.#options.table.captureOf(about.node, about.uid));
    return condition === undefined || (live !== undefined && isSame(live, condition)) ? undefined : condition;
  }

  #pump(): void {
    this.#timer?.cancel();
    if (!this.#leading || this.#underWay.size >= maxParallel) return;
    const { clock } = this.#options;
    const now = clock.monotonic();
    let next = Number.POSITIVE_INFINITY;
    for (const [key, at] of this.#due) {
      if (at > now) {
        next = Math.min(next, at);
        continue;
      }
      if (now < this.#nextAt) {
        next = this.#nextAt;
        break;
      }
      this.#due.delete(key);
      if (this.#begin(key)) this.#nextAt = now + paceMs;
    }
    if (next < Number.POSITIVE_INFINITY)
      this.#timer = clock.after(next - now, () => this.#pump(), { unref: true });
  }

  /** False if there is nothing to write, or not yet. */
  #begin(key: ObjectKey): boolean {
    const subject = this.#subjects.get(key);
    const wanted = subject && this.#wanted(key, subject);
    if (subject === undefined || wanted === undefined) {
      this.#written.delete(key);
      return false;
    }
    const text = JSON.stringify(wanted);
    const now = this.#options.clock.monotonic();
    const last = this.#written.get(key);
    if (last?.text === text && now - last.at < echoMs) {
      // Written, and the watch has not told yet; if it never does, write again.
      this.#due.set(key, last.at + echoMs);
      return false;
    }
    const writing = this.#write(key, subject, wanted)
      .then(
        () => this.#onWritten(key, text),
        (error: unknown) => this.#onFailure(key, error),
      )
      .finally(() => {
        this.#underWay.delete(writing);
        this.#pump();
      });
    this.#underWay.add(writing);
    return true;
  }

  async #write(
    key: ObjectKey,
    { namespace, name, podUid }: Subject,
    wanted: PodCondition | 'none',
  ): Promise<void> {
    const type = capturedConditionType;
    const live = this.#options.live(key);
    const condition =
      wanted === 'none'
        ? { type, $patch: 'delete' }
        : { type, ...wanted, lastTransitionTime: this.#transitionOf(live, wanted) };
    await this.#options.client.request({
      method: 'PATCH',
      path: `/api/v1/namespaces/${encodeURIComponent(namespace)}/pods/${encodeURIComponent(name)}/status?fieldManager=weft-controller`,
      contentType: 'application/strategic-merge-patch+json',
      // The uid makes the API server refuse to write to another pod of the same name.
      body: { metadata: { uid: podUid }, status: { conditions: [condition] } },
      signal: this.#closing.signal,
      timeoutMs: 10_000,
    });
  }

  #transitionOf(live: LiveCondition | undefined, { status }: PodCondition): string {
    const before = live?.status === status ? live.lastTransitionTime : undefined;
    return before ?? `${new Date(this.#options.clock.now()).toISOString().slice(0, 19)}Z`;
  }

  #onWritten(key: ObjectKey, text: string): void {
    this.#failures = 0;
    this.counters.written++;
    this.#written.set(key, { text, at: this.#options.clock.monotonic() });
  }

  #onFailure(key: ObjectKey, error: unknown): void {
    if (this.#closing.signal.aborted) return;
    this.counters.failed++;
    const code = error instanceof KubeError ? error.code : undefined;
    // The pod is gone, or another of the same name: the watch will tell.
    if (code === 'NOT_FOUND' || code === 'CONFLICT' || code === 'INVALID') return;
    const { clock, logger } = this.#options;
    const wish = error instanceof KubeError ? (error.retryAfterMs ?? 0) : 0;
    const delayMs = Math.min(maxRetryMs, Math.max(wish, 1_000 * 2 ** Math.min(this.#failures, 6)));
    this.#failures++;
    if (this.#leading) this.#due.set(key, clock.monotonic() + delayMs);
    const reason = error instanceof Error ? error.message : String(error);
    if (this.#failures === 1)
      logger.warn({ pod: key, reason }, 'writing a pod condition failed, trying again');
  }
}

/** Of each pod that did not change the same: most of a large cluster in most translations. */
const subjectsOfPods = new WeakMap<NodePod, Subject>();

/** Undefined for a pod that no Kubernetes has. */
function subjectOf(pod: NodePod): Subject | undefined {
  const known = subjectsOfPods.get(pod);
  if (known !== undefined) return known;
  const { uid, namespace, name, node, netns, enrolled } = pod;
  const podUid = referencedPod(netns);
  if (podUid === undefined) return undefined;
  const about = enrolled ? ({ kind: 'pod', node, uid } as const) : ({ kind: 'none' } as const);
  const subject = { key: objectKey(namespace, name), namespace, name, podUid, about };
  subjectsOfPods.set(pod, subject);
  return subject;
}

function isSameSubject(a: Subject | undefined, b: Subject): boolean {
  if (a === b) return true;
  if (a?.podUid !== b.podUid || a.about.kind !== b.about.kind) return false;
  return a.about.kind !== 'pod' || b.about.kind !== 'pod' || a.about.node === b.about.node;
}

function isSame(a: PodCondition, b: PodCondition): boolean {
  return a.status === b.status && a.reason === b.reason && a.message === b.message;
}
