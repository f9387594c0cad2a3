// Keeps capture in step with the model: which pods of this node are captured, with which listeners and identity. Each
// pod is a small state machine (waiting for its certificate -> captured, or failed and tried again); one pod's trouble
// never holds up another. A pod is captured only when everything it needs is there.

import type { Redirect } from '../bpf/redirect.ts';
import type { NodePod } from '../mesh/model/node-pod.ts';
import { formatSpiffeId, identityOf, sameIdentity } from '../mesh/model/spiffe-id.ts';
import type { WorkloadUid } from '../mesh/model/workload.ts';
import { Backoff } from '../mesh/runtime/backoff.ts';
import type { Clock, Timer } from '../mesh/runtime/clock.ts';
import type { Logger } from '../mesh/runtime/logger.ts';
import type { Snapshot } from '../mesh/state/snapshot.ts';
import type { CertificateManager } from '../mesh/tls/certificate-manager.ts';
import type { DataWorker } from './data-worker.ts';
import type { PodDns } from './pod-dns.ts';
import { closePodListeners, openPodListeners } from './pod-listeners.ts';
import type { LocatedNetns, PodNetnsLocator } from './pod-netns.ts';
import { ports } from './ports.ts';
import type { SameNode } from './same-node.ts';
import { leavingLingerMs } from './worker-messages.ts';

/** What the metrics are told. */
export interface PodMetrics {
  podStarted(): void;
  podStopped(): void;
  podsPending(count: number): void;
}

export interface PodManagerOptions {
  readonly node: string;
  readonly redirect: Redirect;
  readonly netns: PodNetnsLocator;
  readonly certificates: CertificateManager;
  readonly workers: readonly DataWorker[];
  readonly dns: PodDns;
  /** Absent: every connection goes through the proxy. */
  readonly sameNode: Pick<SameNode, 'podCaptured' | 'podReleased'> | undefined;
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
  readonly pod: NodePod;
  readonly backoff: Backoff;
  state: 'pending' | 'captured' | 'failed';
  reason: string | undefined;
  retry: Timer | undefined;
  /** The namespace that was captured; undefined until then. */
  netns: LocatedNetns | undefined;
}

/** How often captured namespaces are looked at, ms: a pod made anew at the same path runs uncaptured until then. */
const netnsCheckMs = 1_000;

export class PodManager {
  #options: PodManagerOptions;
  #entries = new Map<WorkloadUid, Entry>();
  /** Certificates that pods which left still use. */
  #lingering = new Set<Timer>();
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
    for (const pod of snapshot.pods.values()) {
      if (pod.node !== this.#options.node) {
        stranger ??= pod.node;
        continue;
      }
      present.add(pod.uid);
      if (pod.enrolled && pod.addresses.length > 0) wanted.set(pod.uid, pod);
    }
    for (const entry of [...this.#entries.values()]) {
      const pod = wanted.get(entry.pod.uid);
      if (pod === undefined) this.#leave(entry, present.has(entry.pod.uid) ? 'drain' : 'now');
      else if (!sameCapture(pod, entry.pod)) this.#leave(entry, 'now');
    }
    for (const pod of wanted.values()) if (!this.#entries.has(pod.uid)) this.#enter(pod);
    this.#endInherited(wanted);
    this.#complainAbout(stranger);
    this.#settle();
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

  states(): PodState[] {
    return [...this.#entries.values()].map(({ pod, state, reason }) => ({
      uid: pod.uid,
      name: `${pod.namespace}/${pod.name}`,
      state,
      ...(reason === undefined ? {} : { reason }),
    }));
  }

  /** Stops managing; capture stays as it is. */
  close(): void {
    this.#unsubscribe();
    this.#netnsCheck.cancel();
    for (const entry of this.#entries.values()) {
      entry.retry?.cancel();
      entry.netns?.close();
    }
    for (const timer of this.#lingering) timer.cancel();
    this.#entries.clear();
  }

  #enter(pod: NodePod): void {
    const backoff = new Backoff({ minMs: 250, maxMs: 15_000 });
    const entry: Entry = {
      pod,
      backoff,
      state: 'pending',
      reason: 'waiting for its certificate',
      retry: undefined,
      netns: undefined,
    };
    this.#entries.set(pod.uid, entry);
    this.#options.certificates.want(identityOf(pod));
    if (this.#options.certificates.get(identityOf(pod)) !== undefined) this.#capture(entry);
  }

  #capture(entry: Entry): void {
    const { redirect, dns, workers, logger, metrics } = this.#options;
    entry.retry?.cancel();
    const netns = this.#attempt(entry, () => this.#options.netns.locate(entry.pod.netns));
    if (netns === undefined) return;
    const pod = { ...entry.pod, netns: netns.path };
    const sets = this.#attempt(entry, () => openPodListeners(pod, workers.length));
    if (sets === undefined) return netns.close();
    const attached = this.#attempt(entry, () => {
      dns.addPod(pod);
      return redirect.attach(pod.uid, {
        netnsPath: pod.netns,
        addresses: pod.addresses,
        outboundPort: ports.outbound,
        dnsPort: ports.dns,
        hboneListeners: sets.flatMap((set) => set.hbone),
        plaintextListeners: sets.flatMap((set) => set.plaintext),
      });
    });
    if (attached === undefined) {
      closePodListeners(sets);
      dns.removePod(pod.uid);
      netns.close();
      return;
    }
    for (const [index, worker] of workers.entries()) {
      const listeners = sets[index];
      if (listeners !== undefined)
        worker.post({ kind: 'pod-added', workerPod: { pod: entry.pod, listeners } });
    }
    this.#options.sameNode?.podCaptured(entry.pod, { ...attached, netnsPath: netns.path });
    entry.netns = netns;
    entry.state = 'captured';
    entry.reason = undefined;
    entry.backoff.reset();
    metrics.podStarted();
    this.#settle();
    logger.info({ pod: `${pod.namespace}/${pod.name}`, netns: entry.pod.netns }, 'Pod captured');
  }

  /** undefined and a later retry when `run` fails. */
  #attempt<T>(entry: Entry, run: () => T): T | undefined {
    try {
      return run();
    } catch (error) {
      const { pod } = entry;
      entry.state = 'failed';
      entry.reason = error instanceof Error ? error.message : String(error);
      const delayMs = entry.backoff.next();
      this.#options.logger.error(
        { pod: `${pod.namespace}/${pod.name}`, error: entry.reason, retryMs: Math.round(delayMs) },
        'Pod is not captured',
      );
      entry.retry = this.#options.clock.after(delayMs, () => this.#capture(entry));
      this.#settle();
      return undefined;
    }
  }

  #leave(entry: Entry, how: 'drain' | 'now'): void {
    const { redirect, dns, workers, logger, metrics, clock } = this.#options;
    const { pod } = entry;
    this.#entries.delete(pod.uid);
    entry.retry?.cancel();
    this.#options.sameNode?.podReleased(pod.uid, how);
    entry.netns?.close();
    if (entry.state === 'captured') {
      redirect.detach(pod.uid);
      dns.removePod(pod.uid);
      for (const worker of workers) worker.post({ kind: 'pod-removed', uid: pod.uid, how });
      metrics.podStopped();
      logger.info({ pod: `${pod.namespace}/${pod.name}`, how }, 'Pod released');
    }
    if (how === 'now' || entry.state !== 'captured') return this.#releaseCertificate(pod);
    const timer = clock.after(leavingLingerMs, () => {
      this.#lingering.delete(timer);
      this.#releaseCertificate(pod);
    });
    this.#lingering.add(timer);
  }

  #releaseCertificate(pod: NodePod): void {
    const { certificates, workers } = this.#options;
    const identity = identityOf(pod);
    certificates.release(identity);
    // Another pod has it, or one that left still uses it.
    if (certificates.get(identity) !== undefined) return;
    const spiffeId = formatSpiffeId(identity);
    for (const worker of workers) worker.post({ kind: 'certificate-removed', spiffeId });
  }

  #checkNetnsLater(): Timer {
    return this.#options.clock.after(netnsCheckMs, () => this.#checkNetns(), { unref: true });
  }

  /** A namespace that was deleted, or made anew under its name, is no change of the model: only a look shows it. */
  #checkNetns(): void {
    for (const entry of [...this.#entries.values()]) {
      if (entry.state !== 'captured' || entry.netns?.isCurrent() !== false) continue;
      const { namespace, name, netns } = entry.pod;
      this.#options.logger.warn(
        { pod: `${namespace}/${name}`, netns },
        'Network namespace of a pod is not the same any more',
      );
      this.#leave(entry, 'now');
      this.#enter(entry.pod);
    }
    this.#netnsCheck = this.#checkNetnsLater();
  }

  #settle(): void {
    const pending = [...this.#entries.values()].filter(({ state }) => state === 'pending').length;
    this.#options.metrics.podsPending(this.#entries.size - this.#captured());
    if (pending === 0 && this.#stranger === undefined) this.#options.onSettled();
  }

  #captured(): number {
    return [...this.#entries.values()].filter(({ state }) => state === 'captured').length;
  }

  /** Pods that an earlier process captured and that are no longer to be. */
  #endInherited(wanted: ReadonlyMap<WorkloadUid, NodePod>): void {
    for (const { uid, attached } of this.#options.redirect.listPods()) {
      if (!attached && !wanted.has(uid as WorkloadUid)) this.#options.redirect.detach(uid);
    }
  }
}

function sameCapture(a: NodePod, b: NodePod): boolean {
  return a.netns === b.netns && sameIdentity(a, b) && a.addresses.join() === b.addresses.join();
}
