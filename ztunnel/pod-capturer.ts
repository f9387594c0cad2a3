// Captures one pod, and lets it go: its listeners, its DNS, the kernel programs, and what the data workers know of it. All
// of it or nothing. Who is captured, when and why is the PodManager's.

import type { Redirect } from '../bpf/redirect.ts';
import type { NodePod } from '../mesh/model/node-pod.ts';
import { formatSpiffeId, type Identity } from '../mesh/model/spiffe-id.ts';
import type { WorkloadUid } from '../mesh/model/workload.ts';
import type { DataWorker } from './data-worker.ts';
import type { PodDns } from './pod-dns.ts';
import { closePodListeners, openPodListeners } from './pod-listeners.ts';
import { ports } from './ports.ts';
import type { SameNode } from './same-node.ts';
import type { PodListeners } from './worker-messages.ts';

export interface PodCapturerOptions {
  readonly redirect: Pick<Redirect, 'attach' | 'detach' | 'endAnswers' | 'listPods'>;
  readonly workers: readonly Pick<DataWorker, 'post'>[];
  readonly dns: Pick<PodDns, 'addPod' | 'removePod'>;
  /** Absent: every connection goes through the proxy. */
  readonly sameNode: Pick<SameNode, 'podCaptured' | 'podReleased'> | undefined;
}

export class PodCapturer {
  #options: PodCapturerOptions;
  /** Pods that were let go whose DNS still answers. */
  #leaving = new Set<WorkloadUid>();

  constructor(options: PodCapturerOptions) {
    this.#options = options;
  }

  /**
   * @param pod with the addresses it has in its namespace
   * @param netnsPath leads to that namespace
   * @throws NetnsError, IoError, BpfError; nothing has changed then
   */
  capture(pod: NodePod, netnsPath: string): void {
    const { workers, sameNode } = this.#options;
    const located = { ...pod, netns: netnsPath };
    const sets = openPodListeners(located, workers.length);
    const attached = this.#attach(located, sets);
    for (const [index, worker] of workers.entries()) {
      const listeners = sets[index];
      if (listeners !== undefined) worker.post({ kind: 'pod-added', workerPod: { pod, listeners } });
    }
    this.#leaving.delete(pod.uid);
    sameNode?.podCaptured(pod, { ...attached, netnsPath });
  }

  #attach(pod: NodePod, sets: readonly PodListeners[]): { readonly netnsCookie: bigint } {
    const { redirect, dns } = this.#options;
    try {
      const dnsListeners = dns.addPod(pod);
      return redirect.attach(pod.uid, {
        netnsPath: pod.netns,
        addresses: pod.addresses,
        outboundPort: ports.outbound,
        dnsPort: ports.dns,
        ...(pod.probePorts === undefined ? {} : { probePorts: pod.probePorts }),
        hboneListeners: sets.flatMap((set) => set.hbone),
        plaintextListeners: sets.flatMap((set) => set.plaintext),
        outboundListeners: sets.flatMap((set) => set.outbound),
        dnsListeners,
      });
    } catch (error) {
      closePodListeners(sets);
      dns.removePod(pod.uid);
      throw error;
    }
  }

  /** `drain`: what is open may finish, and DNS queries under way are answered until settle(). */
  release(uid: WorkloadUid, how: 'drain' | 'now'): void {
    const { redirect, dns, workers } = this.#options;
    redirect.detach(uid, { answering: how === 'drain' });
    if (how === 'drain') this.#leaving.add(uid);
    else dns.removePod(uid);
    for (const worker of workers) worker.post({ kind: 'pod-removed', uid, how });
  }

  /** Some seconds after a release with `drain`; does nothing to a pod that is captured again. */
  settle(uid: WorkloadUid): void {
    if (!this.#leaving.delete(uid)) return;
    const { redirect, dns } = this.#options;
    redirect.endAnswers(uid);
    dns.removePod(uid);
  }

  /** The kernel forgets what it lets the pod do past the proxy. To be called before release(), captured or not. */
  revoke(uid: WorkloadUid, how: 'drain' | 'now'): void {
    this.#options.sameNode?.podReleased(uid, how);
  }

  /** Nobody uses the identity any more. */
  forgetIdentity(identity: Identity): void {
    const spiffeId = formatSpiffeId(identity);
    for (const worker of this.#options.workers) worker.post({ kind: 'certificate-removed', spiffeId });
  }

  /** Ends capture that an earlier process left, for pods that are not `wanted` any more. */
  endInherited(wanted: { has(uid: WorkloadUid): boolean }): void {
    const { redirect } = this.#options;
    for (const { uid, attached } of redirect.listPods()) {
      if (!attached && !wanted.has(uid as WorkloadUid)) redirect.detach(uid);
    }
  }
}
