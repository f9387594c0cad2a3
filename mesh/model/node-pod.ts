// A pod of one node as its ztunnel needs it: who it is and where its network namespace is.
// Comes from the controller (standalone) or from the CNI step (Kubernetes); never from the pod itself.

import type { IpAddress } from './ip-address.ts';
import type { WorkloadUid } from './workload.ts';

export interface NodePod {
  readonly uid: WorkloadUid;
  readonly name: string;
  readonly namespace: string;
  readonly serviceAccount: string;
  readonly trustDomain: string;
  readonly node: string;
  readonly addresses: readonly IpAddress[];
  /** Path of the network namespace, for example `/run/netns/web-1`. */
  readonly netns: string;
  /** False: the pod is known but not captured (label removed, or `none`). */
  readonly enrolled: boolean;
  /** Its connections always go through the proxy, whatever MeshConfig says. */
  readonly sameNode?: 'proxy';
}
