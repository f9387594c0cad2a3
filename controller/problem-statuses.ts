// Statuses of objects that could not be read at all: an API server whose definitions are older or newer than this
// controller accepts what the controller does not. Such an object is not accepted, whatever its last good version says.

import type { ObjectReference } from './resources/resources.ts';
import { formatReference } from './resources/resources.ts';
import type { Problem } from './source/problem.ts';
import type { Condition, ObjectStatus } from './translate/statuses.ts';

/** `statuses` with those of broken objects put in place; `generationOf` is the object's own, which was not read. */
export function withProblems(
  statuses: readonly ObjectStatus[],
  problems: readonly Problem[],
  generationOf: (reference: ObjectReference) => number | undefined,
): readonly ObjectStatus[] {
  const broken = new Map<string, ObjectStatus>();
  const byObject = new Map<string, { reference: ObjectReference; list: Problem[] }>();
  for (const problem of problems) {
    if (problem.object === undefined) continue;
    const key = formatReference(problem.object);
    const entry = byObject.get(key);
    if (entry === undefined) byObject.set(key, { reference: problem.object, list: [problem] });
    else entry.list.push(problem);
  }
  for (const [key, { reference, list }] of byObject) {
    if (!list.some(({ severity }) => severity === 'error')) continue;
    const generation = generationOf(reference);
    const faults = list.map(({ field, message }) => ({
      message: field === undefined || field === '' ? message : `${field}: ${message}`,
    }));
    const message = faults.map((fault) => fault.message).join('; ');
    const refused: Condition = { type: 'Accepted', status: 'False', reason: 'Invalid', message, faults };
    const translated = statuses.find((status) => formatReference(status) === key);
    broken.set(key, {
      ...reference,
      ...(generation === undefined ? {} : { generation }),
      ...said(refused, translated),
    });
  }
  if (broken.size === 0) return statuses;
  return [...statuses.filter((status) => !broken.has(formatReference(status))), ...broken.values()];
}

/** A route has no conditions of its own: each parent is told. */
function said(
  refused: Condition,
  translated: ObjectStatus | undefined,
): Pick<ObjectStatus, 'conditions' | 'parents'> {
  if (translated?.parents === undefined) return { conditions: [refused] };
  return { conditions: [], parents: translated.parents.map(({ ref }) => ({ ref, conditions: [refused] })) };
}
