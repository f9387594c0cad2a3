// Whether a pod is part of the mesh: its own label, then its namespace's; Weft's label before Istio's alias.
// Only `ambient` enrols; any other value of a pod's label keeps it out, whatever the namespace says.

import type { Resources } from '../resources/resources.ts';
import { compareText } from './precedence.ts';
import type { Labels } from './selectors.ts';

const modeLabel = 'weft.dev/mode';
const aliasLabel = 'istio.io/dataplane-mode';

export function isEnrolled(podLabels: Labels, namespaceLabels: Labels): boolean {
  return (modeOf(podLabels) ?? modeOf(namespaceLabels)) === 'ambient';
}

/**
 * Names of the namespaces whose pods are enrolled if they say nothing themselves, sorted. Never `own`, the mesh's: its
 * pods, the node tunnel's first, must start where no node tunnel runs.
 */
export function enrolledNamespaces(
  { Namespace }: Pick<Resources, 'Namespace'>,
  { own }: { readonly own: string },
): readonly string[] {
  const names = [...Namespace.values()].flatMap(({ metadata: { name, labels } }) =>
    name !== own && isEnrolled({}, labels) ? [name] : [],
  );
  return names.sort(compareText);
}

/** The value written on one object, or undefined if it says nothing. */
export function modeOf(labels: Labels): string | undefined {
  if (Object.hasOwn(labels, modeLabel)) return labels[modeLabel];
  return Object.hasOwn(labels, aliasLabel) ? labels[aliasLabel] : undefined;
}

/** A value that is neither `ambient` nor `none`, for a status; Istio also knows `sidecar`, which enrols nothing here. */
export function unknownMode(labels: Labels): { readonly label: string; readonly value: string } | undefined {
  const label = Object.hasOwn(labels, modeLabel) ? modeLabel : aliasLabel;
  const value = modeOf(labels);
  if (value === undefined || value === 'ambient' || value === 'none') return undefined;
  return label === aliasLabel && value === 'sidecar' ? undefined : { label, value };
}
