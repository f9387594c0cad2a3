// The annotation of a waypoint's Gateway that says who may ask which policy decided about a request.

import type { ObjectMeta } from '../resources/object-meta.ts';
import { labelNamePattern, objectNamePattern } from '../resources/object-meta.ts';
import type { StatusCollector } from './statuses.ts';

const annotation = 'weft.dev/explain-policy';

/** `namespace/service-account`, `namespace/*` or `*`; what is none of them is reported and tells nobody. */
export function readExplainPolicy(metadata: ObjectMeta, statuses: StatusCollector): readonly string[] {
  const text = metadata.annotations[annotation];
  if (text === undefined) return [];
  const entries = text.split(',').map((entry) => entry.trim());
  const bad = entries.find((entry) => !isEntry(entry));
  if (bad === undefined) return entries;
  const message = `Annotation ${annotation}: "${bad}" is neither "namespace/service-account" nor "namespace/*" nor "*"; nobody is told`;
  const field = ['metadata', 'annotations', annotation];
  statuses.reject('Gateway', metadata, { reason: 'Invalid', message, field });
  return [];
}

function isEntry(entry: string): boolean {
  if (entry === '*') return true;
  const [namespace = '', account = '', ...rest] = entry.split('/');
  return (
    rest.length === 0 &&
    labelNamePattern.test(namespace) &&
    (account === '*' || objectNamePattern.test(account))
  );
}
