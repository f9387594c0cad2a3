// Which of several objects that claim the same thing counts: the oldest, then the first by namespace and name
// (the rule of the Gateway API). An object without a creation time, as in a directory, is older than any with one.

import type { ObjectMeta } from '../resources/object-meta.ts';

interface WithMetadata {
  readonly metadata: ObjectMeta;
}

/** A sorted copy, the one with precedence first. */
export function byPrecedence<T extends WithMetadata>(objects: Iterable<T>): T[] {
  return [...objects].sort((a, b) => comparePrecedence(a.metadata, b.metadata));
}

export function comparePrecedence(a: ObjectMeta, b: ObjectMeta): number {
  return (
    creationMs(a) - creationMs(b) || compareText(a.namespace, b.namespace) || compareText(a.name, b.name)
  );
}

function creationMs(meta: ObjectMeta): number {
  const ms = meta.creationTimestamp === '' ? 0 : Date.parse(meta.creationTimestamp);
  return Number.isNaN(ms) ? 0 : ms;
}

export function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
