// DNS for the pods of this node: gives each pod's server the resolvers the pod itself would use. Reads a small file a
// pod, when it is captured; everything else is the DNS proxy's.

import type { FlowMaps } from '../bpf/flow-maps.ts';
import type { NodePod } from '../mesh/model/node-pod.ts';
import type { WorkloadUid } from '../mesh/model/workload.ts';
import type { Clock } from '../mesh/runtime/clock.ts';
import type { Logger } from '../mesh/runtime/logger.ts';
import type { Snapshot } from '../mesh/state/snapshot.ts';
import { type DnsMetrics, DnsProxy } from './dns-proxy.ts';
import { nameserversOf } from './resolv-conf.ts';

export class PodDns {
  #proxy: DnsProxy;

  constructor(options: {
    readonly snapshot: () => Snapshot;
    readonly flowMaps: FlowMaps;
    readonly clock: Clock;
    readonly metrics: DnsMetrics;
    readonly logger: Logger;
  }) {
    const { snapshot, flowMaps, clock, metrics, logger } = options;
    this.#proxy = new DnsProxy({
      snapshot,
      clock,
      metrics,
      exempt: (fd) => flowMaps.exempt(fd),
      onError: (pod, error) =>
        logger.warn({ pod: `${pod.namespace}/${pod.name}`, err: error }, 'DNS of a pod failed'),
    });
  }

  /**
   * Answers DNS for the pod from now on. Returns descriptors of its sockets, UDP and TCP, which stay its own.
   * @throws IoError, NetnsError when they can not be made
   */
  addPod(pod: NodePod): readonly number[] {
    this.#proxy.addPod({ pod, nameservers: nameserversOf(pod.netns) });
    return this.#proxy.listenersOf(pod.uid);
  }

  /** Idempotent. */
  removePod(uid: WorkloadUid): void {
    this.#proxy.removePod(uid);
  }

  close(): void {
    this.#proxy.close();
  }
}
