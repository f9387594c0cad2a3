// A PodCapturer whose captures are proved: stands between the pod manager and the capturer, counts what was open before
// a pod was captured, has the self-probes follow the pod from then on, and captures it anew when they ask for it.

import type { NodePod } from '../mesh/model/node-pod.ts';
import type { Identity } from '../mesh/model/spiffe-id.ts';
import type { WorkloadUid } from '../mesh/model/workload.ts';
import type { Logger } from '../mesh/runtime/logger.ts';
import type { EarlierConnections } from './earlier-connections.ts';
import type { PodCapturer } from './pod-capturer.ts';
import type { PodDns } from './pod-dns.ts';
import type { SelfProbes } from './self-probes.ts';

type Capturer = Pick<PodCapturer, keyof PodCapturer>;

export interface ProvenCapturerOptions {
  readonly capturer: Capturer;
  readonly probes: Pick<SelfProbes, 'podCaptured' | 'podReleased'>;
  readonly earlier: Pick<EarlierConnections, 'begin' | 'end'>;
  readonly dns: Pick<PodDns, 'removePod'>;
  readonly logger: Logger;
}

export class ProvenCapturer implements Capturer {
  readonly #options: ProvenCapturerOptions;
  readonly #captured = new Map<WorkloadUid, { readonly pod: NodePod; readonly netnsPath: string }>();

  constructor(options: ProvenCapturerOptions) {
    this.#options = options;
  }

  capture(pod: NodePod, netnsPath: string): void {
    const { capturer, probes, earlier } = this.#options;
    if (!this.#captured.has(pod.uid)) earlier.begin(pod, netnsPath);
    capturer.capture(pod, netnsPath);
    this.#captured.set(pod.uid, { pod, netnsPath });
    probes.podCaptured(pod, netnsPath);
  }

  /** Listeners, DNS and programs of a captured pod anew; what is open goes on. No error for a pod that is not captured. */
  recapture(uid: WorkloadUid, reason: string): void {
    const { dns, logger } = this.#options;
    const known = this.#captured.get(uid);
    if (known === undefined) return;
    const { pod, netnsPath } = known;
    const fields = { pod: `${pod.namespace}/${pod.name}`, reason };
    try {
      dns.removePod(uid);
      this.capture(pod, netnsPath);
      logger.info(fields, 'Pod captured anew');
    } catch (err) {
      // The next proof fails as well, and asks again.
      logger.error({ ...fields, err }, 'Pod could not be captured anew');
    }
  }

  release(uid: WorkloadUid, how: 'drain' | 'now'): void {
    const { capturer, probes, earlier } = this.#options;
    this.#captured.delete(uid);
    probes.podReleased(uid);
    earlier.end(uid);
    capturer.release(uid, how);
  }

  settle(uid: WorkloadUid): void {
    this.#options.capturer.settle(uid);
  }

  revoke(uid: WorkloadUid, how: 'drain' | 'now'): void {
    this.#options.capturer.revoke(uid, how);
  }

  forgetIdentity(identity: Identity): void {
    this.#options.capturer.forgetIdentity(identity);
  }

  endInherited(wanted: { has(uid: WorkloadUid): boolean }): void {
    this.#options.capturer.endInherited(wanted);
  }
}
