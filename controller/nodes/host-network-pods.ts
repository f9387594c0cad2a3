// Pods that labels put into the mesh and that use the network of their node: nobody can tell their connections from the
// node's, so they are named instead of captured.

import type { Resources } from '../resources/resources.ts';
import { isEnrolled } from '../translate/enrolment.ts';
import type { HostNetworkPod } from './pod-conditions.ts';

/** Sorted as the resources are. */
export function hostNetworkPods({ Pod: pods, Namespace: namespaces }: Resources): readonly HostNetworkPod[] {
  const found: HostNetworkPod[] = [];
  for (const { metadata, spec } of pods.values()) {
    const { namespace, name, uid, labels } = metadata;
    if (!spec.hostNetwork || uid === undefined) continue;
    const ofNamespace = namespaces.get(namespace)?.metadata.labels ?? {};
    if (isEnrolled(labels, ofNamespace)) found.push({ namespace, name, uid });
  }
  return found;
}
