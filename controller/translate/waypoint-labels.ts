// What the labels of one object say about waypoints. Weft's label before Istio's alias, each with its own label for the
// namespace of the waypoint.

import type { WaypointMissing } from '../../mesh/model/workload.ts';
import type { Labels } from './selectors.ts';

export type WaypointLabel =
  | { readonly kind: 'none'; readonly label: string }
  | { readonly kind: 'named'; readonly label: string; readonly namespace: string; readonly name: string };

const labels = [
  { name: 'weft.dev/waypoint', namespace: 'weft.dev/waypoint-namespace' },
  { name: 'istio.io/use-waypoint', namespace: 'istio.io/use-waypoint-namespace' },
];

const missingLabel = 'weft.dev/waypoint-missing';

/** Undefined if the object says nothing; `namespace` is its own, where a waypoint is unless a label says otherwise. */
export function waypointLabel(of: Labels, namespace: string): WaypointLabel | undefined {
  const label = labels.find(({ name }) => Object.hasOwn(of, name) && of[name] !== '');
  if (label === undefined) return undefined;
  const name = of[label.name] as string;
  if (name === 'none') return { kind: 'none', label: label.name };
  const elsewhere = Object.hasOwn(of, label.namespace) ? of[label.namespace] : undefined;
  return { kind: 'named', label: label.name, namespace: elsewhere || namespace, name };
}

/** Undefined if the object says nothing; `unknown` is a value that has no meaning. */
export function waypointMissingLabel(
  of: Labels,
): WaypointMissing | { readonly label: string; readonly unknown: string } | undefined {
  if (!Object.hasOwn(of, missingLabel)) return undefined;
  const value = of[missingLabel] as string;
  return value === 'l4-only' || value === 'refuse' ? value : { label: missingLabel, unknown: value };
}
