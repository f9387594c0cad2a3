// Which of several objects that claim the same thing counts: the oldest, then the first by namespace and name
// (the rule of the Gateway API). An object without a creation time, as in a directory, is older than any with one.

import type { ObjectMeta } from '../resources/object-meta.ts';

interface WithMetadata {
  readonly metadata: ObjectMeta;
}

/** A sorted copy, the one with precedence first. */
export function byPrecedence<T extends WithMetadata>(objects: Iterable<T>): T[] {
  // Each time is parsed once, not at each comparison.
  const dated = Array.from(objects, (object) => ({ object, ms: creationMs(object.metadata) }));
  dated.sort((a, b) => a.ms - b.ms || compareNames(a.object.metadata, b.object.metadata));
  return dated.map(({ object }) => object);
}

function compareNames(a: ObjectMeta, b: ObjectMeta): number {
  return compareText(a.namespace, b.namespace) || compareText(a.name, b.name);
}

const parsed = new WeakMap<ObjectMeta, number>();

function creationMs(meta: ObjectMeta): number {
  if (meta.creationTimestamp === '') return 0;
  let ms = parsed.get(meta);
  if (ms === undefined) {
    ms = Date.parse(meta.creationTimestamp) || 0;
    parsed.set(meta, ms);
  }
  return ms;
}

export function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
