// The end of a mesh: with the label `weft.dev/enrolment: off` on the mesh's own namespace no pod is enrolled, whatever its
// labels say, so that every node lets its pods go in the same moment, before `weft uninstall` takes the nodes' tunnels.
// Labels of users stay as they are.

import type { ObjectMeta } from '../resources/object-meta.ts';
import type { Resources } from '../resources/resources.ts';
import { modeOf } from './enrolment.ts';

export const enrolmentLabel = 'weft.dev/enrolment';

/** The same resources, or as if nothing of them asked to be in the mesh. */
export function withEnrolmentOff(resources: Resources, { own }: { readonly own: string }): Resources {
  if (resources.Namespace.get(own)?.metadata.labels[enrolmentLabel] !== 'off') return resources;
  return {
    ...resources,
    Namespace: outside(resources.Namespace),
    Pod: outside(resources.Pod),
  };
}

function outside<T extends { readonly metadata: ObjectMeta }>(
  objects: ReadonlyMap<string, T>,
): ReadonlyMap<string, T> {
  return new Map([...objects].map(([key, object]) => [key, isAsking(object) ? letGo(object) : object]));
}

function isAsking({ metadata }: { readonly metadata: ObjectMeta }): boolean {
  return modeOf(metadata.labels) === 'ambient';
}

function letGo<T extends { readonly metadata: ObjectMeta }>(object: T): T {
  const { metadata } = object;
  return { ...object, metadata: { ...metadata, labels: { ...metadata.labels, 'weft.dev/mode': 'none' } } };
}
