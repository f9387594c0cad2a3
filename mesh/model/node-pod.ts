// A pod of one node as its ztunnel needs it: who it is and where its network namespace is.
// Comes from the controller (standalone) or from the CNI step (Kubernetes); never from the pod itself.

import type { IpAddress } from './ip-address.ts';
import type { Workload, WorkloadUid } from './workload.ts';

export interface NodePod {
  readonly uid: WorkloadUid;
  readonly name: string;
  readonly namespace: string;
  readonly serviceAccount: string;
  readonly trustDomain: string;
  readonly node: string;
  readonly addresses: readonly IpAddress[];
  /** Path of the network namespace, for example `/run/netns/web-1`; or a `podReference`, which only its node resolves. */
  readonly netns: string;
  /** False: the pod is known but not captured (label removed, or `none`). */
  readonly enrolled: boolean;
  /**
   * What it will be as a workload, as long as it is none because it has no address: says who connects from it, and nothing
   * about who may connect to it. Of enrolled pods in a cluster.
   */
  readonly starting?: Workload;
  /** Its connections always go through the proxy, whatever MeshConfig says. */
  readonly sameNode?: 'proxy';
  /** Where its own probes ask it over the network: the kubelet gets there past the mesh. 1 to 65535, sorted, at most 32. */
  readonly probePorts?: readonly number[];
}

const podPrefix = 'pod:';

/** Stands for the network namespace of the Kubernetes pod with this UID, wherever its node has it. */
export function podReference(uid: string): string {
  return `${podPrefix}${uid}`;
}

/** The UID in a `podReference`; undefined for a path. */
export function referencedPod(netns: string): string | undefined {
  return netns.startsWith(podPrefix) ? netns.slice(podPrefix.length) : undefined;
}
