// Keeps capture in step with the model and with the CNI step: which pods of this node are captured, and with which
// addresses and identity. Each pod is a small state machine (waiting for its start, for its certificate -> captured, or
// failed and tried again); one pod's trouble never holds up another. A pod is captured only when everything it needs is
// there. Where the CNI step has named a pod's sandbox, that counts until it ends; else the model's addresses and /proc do.

import type { NodePod } from '../mesh/model/node-pod.ts';
import { referencedPod } from '../mesh/model/node-pod.ts';
import { identityOf, sameIdentity } from '../mesh/model/spiffe-id.ts';
import type { WorkloadUid } from '../mesh/model/workload.ts';
import { Backoff } from '../mesh/runtime/backoff.ts';
import type { Clock, Timer } from '../mesh/runtime/clock.ts';
import type { Logger } from '../mesh/runtime/logger.ts';
import type { Snapshot } from '../mesh/state/snapshot.ts';
import type { CertificateManager } from '../mesh/tls/certificate-manager.ts';
import type { PodCapturer } from './pod-capturer.ts';
import type { LocatedNetns, PodNetnsLocator } from './pod-netns.ts';
import { isSameNetns, type Sandbox } from './sandbox.ts';
import { leavingLingerMs } from './worker-messages.ts';

/** What the metrics are told. */
export interface PodMetrics {
  podStarted(): void;
  podStopped(): void;
  podsPending(count: number): void;
}

export interface PodManagerOptions {
  readonly node: string;
  readonly capturer: Pick<PodCapturer, keyof PodCapturer>;
  readonly netns: PodNetnsLocator;
  readonly certificates: Pick<CertificateManager, 'want' | 'release' | 'get' | 'subscribe'>;
  readonly metrics: PodMetrics;
  /** No pod waits for its first capture any more; may come again. */
  readonly onSettled: () => void;
  readonly clock: Clock;
  readonly logger: Logger;
}

export interface PodState {
  readonly uid: WorkloadUid;
  readonly name: string;
  readonly state: 'pending' | 'captured' | 'failed';
  readonly reason?: string;
}

interface Entry {
  /** As the model has it. */
  pod: NodePod;
  readonly backoff: Backoff;
  state: 'pending' | 'captured' | 'failed';
  reason: string | undefined;
  retry: Timer | undefined;
  /** Absent: the pod started before the CNI step was there, or has not started. */
  sandbox: Sandbox | undefined;
  /** The namespace that was captured; undefined until then. */
  netns: LocatedNetns | undefined;
}

/** How often captured namespaces are looked at, ms: a pod made anew at the same path runs uncaptured until then. */
const netnsCheckMs = 1_000;
/** A pod whose sandbox ended is gone, or gets another one by the CNI step, within this time; else it is looked for, ms. */
const sandboxOverMs = 15_000;

export class PodManager {
  #options: PodManagerOptions;
  #entries = new Map<WorkloadUid, Entry>();
  /** Every pod of this node, enrolled or not, by its Kubernetes UID. */
  #known = new Map<string, NodePod>();
  /** Certificates that pods which left still use. */
  #lingering = new Set<Timer>();
  #listeners = new Set<() => void>();
  #told = true;
  #retired = false;
  /** The node whose pods the controller sends in place of this one's. */
  #stranger: string | undefined;
  #unsubscribe: () => void;
  #netnsCheck: Timer;

  constructor(options: PodManagerOptions) {
    this.#options = options;
    this.#netnsCheck = this.#checkNetnsLater();
    this.#unsubscribe = options.certificates.subscribe((certificate) => {
      for (const entry of this.#entries.values()) {
        if (entry.state !== 'captured' && sameIdentity(entry.pod, certificate.identity)) this.#capture(entry);
      }
    });
  }

  /** Brings capture to what `snapshot` says. To be called after the first sync, then after every change of pods. */
  reconcile(snapshot: Snapshot): void {
    const wanted = new Map<WorkloadUid, NodePod>();
    const present = new Set<WorkloadUid>();
    let stranger: string | undefined;
    this.#known.clear();
    for (const pod of snapshot.pods.values()) {
      if (pod.node !== this.#options.node) {
        stranger ??= pod.node;
        continue;
      }
      present.add(pod.uid);
      const podUid = referencedPod(pod.netns);
      if (podUid !== undefined) this.#known.set(podUid, pod);
      if (pod.enrolled) wanted.set(pod.uid, pod);
    }
    for (const entry of [...this.#entries.values()]) {
      const pod = wanted.get(entry.pod.uid);
      if (pod === undefined) this.#leave(entry, present.has(entry.pod.uid) ? 'drain' : 'now');
      else if (pod.netns !== entry.pod.netns || !sameIdentity(pod, entry.pod)) this.#leave(entry, 'now');
      else this.#update(entry, pod);
    }
    for (const pod of wanted.values()) if (!this.#entries.has(pod.uid)) this.#enter(pod);
    this.#options.capturer.endInherited(wanted);
    this.#complainAbout(stranger);
    this.#settle();
  }

  /** The pod with this Kubernetes UID, enrolled or not; undefined while the model has none. */
  knownPod(podUid: string): NodePod | undefined {
    return this.#known.get(podUid);
  }

  /** `sandbox`, whose namespace is the manager's from here on, is where the pod is now. Unknown pods are none's. */
  startSandbox(uid: WorkloadUid, sandbox: Sandbox): void {
    const entry = this.#entries.get(uid);
    if (entry === undefined) return sandbox.netns.close();
    if (entry.sandbox?.id === sandbox.id) {
      sandbox.netns.close();
      if (entry.state !== 'captured') this.#capture(entry);
      return;
    }
    const next = this.#renew(entry);
    next.sandbox = sandbox;
    this.#capture(next);
  }

  /** The sandbox is no more. Unknown ones are ignored. */
  endSandbox(sandboxId: string): void {
    for (const entry of [...this.#entries.values()]) {
      if (entry.sandbox?.id === sandboxId) this.#awaitSandbox(entry);
    }
  }

  /** Of a pod that is to be captured; undefined for others. */
  stateOf(uid: WorkloadUid): (PodState & { readonly sandbox?: string }) | undefined {
    const entry = this.#entries.get(uid);
    return entry && { ...stateOf(entry), ...(entry.sandbox && { sandbox: entry.sandbox.id }) };
  }

  states(): PodState[] {
    return [...this.#entries.values()].map(stateOf);
  }

  /** Called soon after every change of a pod's state or of who is known. Returns how to stop. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Captures no more: pods are only let go from here on, and what is captured is served on. */
  retire(): void {
    this.#retired = true;
    for (const { retry } of this.#entries.values()) retry?.cancel();
  }

  /** Stops managing; capture stays as it is. */
  close(): void {
    this.#unsubscribe();
    this.#netnsCheck.cancel();
    for (const entry of this.#entries.values()) {
      entry.retry?.cancel();
      closeNamespaces(entry);
    }
    for (const timer of this.#lingering) timer.cancel();
    this.#entries.clear();
    this.#listeners.clear();
  }

  #enter(pod: NodePod): void {
    this.#options.certificates.want(identityOf(pod));
    this.#capture(this.#add(pod));
  }

  #add(pod: NodePod): Entry {
    const entry: Entry = {
      pod,
      backoff: new Backoff({ minMs: 250, maxMs: 15_000 }),
      state: 'pending',
      reason: undefined,
      retry: undefined,
      sandbox: undefined,
      netns: undefined,
    };
    this.#entries.set(pod.uid, entry);
    return entry;
  }

  /** What a pod had in the model changed while it stays the same pod. */
  #update(entry: Entry, pod: NodePod): void {
    const moved = pod.addresses.join() !== entry.pod.addresses.join();
    entry.pod = pod;
    if (!moved) return;
    // The CNI step knows better, and earlier. But from here on the pod may have a process to know its namespace by.
    if (entry.sandbox !== undefined) return this.#confirm(entry);
    this.#capture(entry.state === 'pending' ? entry : this.#renew(entry));
  }

  /** A sandbox of which nobody says when it ends is found again by its processes, as those are that were found so. */
  #confirm(entry: Entry): void {
    const { sandbox } = entry;
    if (sandbox === undefined || entry.netns !== sandbox.netns) return;
    try {
      const found = this.#options.netns.locate(entry.pod.netns);
      if (isSameNetns(found.path, sandbox.netns.path)) entry.netns = found;
      else found.close();
    } catch {
      // It has no process yet: the next change of its addresses, or its removal, decides.
    }
  }

  #capture(entry: Entry): void {
    if (this.#retired) return;
    entry.retry?.cancel();
    entry.retry = undefined;
    const { certificates, capturer, logger, metrics } = this.#options;
    const addresses = entry.sandbox?.addresses ?? entry.pod.addresses;
    const pod = { ...entry.pod, addresses };
    if (addresses.length === 0) return this.#wait(entry, 'waiting for its start');
    if (certificates.get(identityOf(pod)) === undefined)
      return this.#wait(entry, 'waiting for its certificate');
    try {
      const netns = entry.sandbox?.netns ?? this.#options.netns.locate(pod.netns);
      entry.netns = netns;
      capturer.capture(pod, netns.path);
    } catch (error) {
      return this.#fail(entry, error);
    }
    entry.state = 'captured';
    entry.reason = undefined;
    entry.backoff.reset();
    metrics.podStarted();
    this.#settle();
    logger.info({ pod: nameOf(entry), netns: pod.netns, sandbox: entry.sandbox?.id }, 'Pod captured');
  }

  #awaitSandbox(entry: Entry): void {
    const next = this.#renew(entry);
    next.retry = this.#options.clock.after(sandboxOverMs, () => this.#capture(next), { unref: true });
    this.#wait(next, 'its sandbox has ended');
  }

  #wait(entry: Entry, reason: string): void {
    entry.state = 'pending';
    entry.reason = reason;
    this.#settle();
  }

  #fail(entry: Entry, error: unknown): void {
    if (entry.netns !== entry.sandbox?.netns) entry.netns?.close();
    entry.netns = undefined;
    entry.state = 'failed';
    entry.reason = error instanceof Error ? error.message : String(error);
    const delayMs = entry.backoff.next();
    this.#options.logger.error(
      { pod: nameOf(entry), error: entry.reason, retryMs: Math.round(delayMs) },
      'Pod is not captured',
    );
    entry.retry = this.#options.clock.after(delayMs, () => this.#capture(entry));
    this.#settle();
  }

  /** The same pod from the beginning: what it had is let go, its certificate stays. */
  #renew(entry: Entry): Entry {
    this.#release(entry, 'now');
    return this.#add(entry.pod);
  }

  #leave(entry: Entry, how: 'drain' | 'now'): void {
    const { pod, state } = entry;
    this.#release(entry, how);
    if (how === 'now' || state !== 'captured') return this.#releaseCertificate(pod);
    const timer = this.#options.clock.after(leavingLingerMs, () => {
      this.#lingering.delete(timer);
      this.#options.capturer.settle(pod.uid);
      this.#releaseCertificate(pod);
    });
    this.#lingering.add(timer);
  }

  #release(entry: Entry, how: 'drain' | 'now'): void {
    const { capturer, logger, metrics } = this.#options;
    const { uid } = entry.pod;
    this.#entries.delete(uid);
    entry.retry?.cancel();
    capturer.revoke(uid, how);
    closeNamespaces(entry);
    if (entry.state !== 'captured') return;
    capturer.release(uid, how);
    metrics.podStopped();
    logger.info({ pod: nameOf(entry), how }, 'Pod released');
  }

  #releaseCertificate(pod: NodePod): void {
    const { certificates, capturer } = this.#options;
    const identity = identityOf(pod);
    certificates.release(identity);
    // Else another pod has it, or one that left still uses it.
    if (certificates.get(identity) === undefined) capturer.forgetIdentity(identity);
  }

  #checkNetnsLater(): Timer {
    return this.#options.clock.after(netnsCheckMs, () => this.#checkNetns(), { unref: true });
  }

  /** A namespace that was deleted, or made anew under its name, is no change of the model: only a look shows it. */
  #checkNetns(): void {
    for (const entry of [...this.#entries.values()]) {
      if (entry.state !== 'captured' || entry.netns?.isCurrent() !== false) continue;
      // Its end is on the way to the CNI step, or was lost; a new one comes from there too.
      if (entry.sandbox !== undefined) {
        this.#awaitSandbox(entry);
        continue;
      }
      this.#options.logger.warn(
        { pod: nameOf(entry), netns: entry.pod.netns },
        'Network namespace of a pod is not the same any more',
      );
      this.#capture(this.#renew(entry));
    }
    this.#netnsCheck = this.#checkNetnsLater();
  }

  #settle(): void {
    const started = [...this.#entries.values()].filter(isStarted);
    const pending = started.filter(({ state }) => state === 'pending').length;
    this.#options.metrics.podsPending(started.filter(({ state }) => state !== 'captured').length);
    if (pending === 0 && this.#stranger === undefined) this.#options.onSettled();
    if (this.#told) queueMicrotask(() => this.#tell());
    this.#told = false;
  }

  /** Not at once: who is told may change pods, and whoever changed one may not have finished with the others. */
  #tell(): void {
    this.#told = true;
    for (const listener of [...this.#listeners]) listener();
  }

  /** A node is told of its own pods only: those of another one came for another one's token. */
  #complainAbout(stranger: string | undefined): void {
    if (stranger === this.#stranger) return;
    this.#stranger = stranger;
    if (stranger === undefined) return;
    const { node, logger } = this.#options;
    logger.error(
      { node, tokenOf: stranger },
      'The join token is of another node: no pod of this one can be captured',
    );
  }
}

function stateOf({ pod, state, reason }: Entry): PodState {
  const name = `${pod.namespace}/${pod.name}`;
  return { uid: pod.uid, name, state, ...(reason === undefined ? {} : { reason }) };
}

/** There is a namespace to capture; a pod that has not started holds up nobody. */
function isStarted({ pod, sandbox }: Entry): boolean {
  return sandbox !== undefined || pod.addresses.length > 0;
}

function nameOf({ pod }: Entry): string {
  return `${pod.namespace}/${pod.name}`;
}

function closeNamespaces({ netns, sandbox }: Entry): void {
  if (netns !== sandbox?.netns) netns?.close();
  sandbox?.netns.close();
}
