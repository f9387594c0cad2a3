// What translation says about each object, as Kubernetes-style conditions. Pure data: transition times and writing
// them anywhere are the business of whoever publishes statuses.

import type { ObjectMeta } from '../resources/object-meta.ts';
import { type KindName, type ObjectReference, objectKey } from '../resources/resources.ts';
import { type FieldPath, formatFieldPath } from '../source/problem.ts';

export type ConditionType = 'Accepted' | 'ResolvedRefs' | 'Conflicted';

export interface Condition {
  readonly type: ConditionType;
  readonly status: 'True' | 'False';
  /** One word in CamelCase. */
  readonly reason: string;
  readonly message: string;
  /** Each fault apart, if the condition is bad. */
  readonly faults: readonly Fault[];
}

/** One thing that is wrong, and the field it is wrong with. */
export interface Fault {
  readonly message: string;
  readonly field?: FieldPath;
}

/** What a step of the translation says is wrong with an object. */
export interface Objection extends Fault {
  readonly reason: string;
}

/** A status is for people: after this many faults it only counts. */
const maxFaults = 10;

export interface ObjectStatus extends ObjectReference {
  readonly generation?: number;
  /** Sorted by type, at most one of each. */
  readonly conditions: readonly Condition[];
}

/** Bad: Accepted or ResolvedRefs False, Conflicted True. */
export function isBadCondition({ type, status }: Pick<Condition, 'type' | 'status'>): boolean {
  return (status === 'False') === (type !== 'Conflicted');
}

interface Draft {
  readonly status: 'True' | 'False';
  readonly reason: string;
  readonly faults: Fault[];
}

interface Entry {
  readonly reference: ObjectReference;
  readonly metadata: ObjectMeta;
  readonly conditions: Map<ConditionType, Draft>;
}

const accepted: Draft = { status: 'True', reason: 'Accepted', faults: [{ message: 'In force' }] };

export class StatusCollector {
  readonly #objects = new Map<string, Entry>();

  /** Announces an object that always gets a status: Accepted unless something else is said about it. */
  announce(kind: KindName, metadata: ObjectMeta): void {
    this.#entry(kind, metadata);
  }

  /** Says something worth knowing about an object that is in force. */
  remark(kind: KindName, metadata: ObjectMeta, { reason, message }: Objection): void {
    const { conditions } = this.#entry(kind, metadata);
    if (!conditions.has('Accepted'))
      conditions.set('Accepted', { status: 'True', reason, faults: [{ message }] });
  }

  /** Accepted is False; the object may be in force in part, as the message says. */
  reject(kind: KindName, metadata: ObjectMeta, objection: Objection): void {
    this.#object(this.#entry(kind, metadata), { type: 'Accepted', status: 'False' }, objection);
  }

  /** ResolvedRefs is False. */
  unresolved(kind: KindName, metadata: ObjectMeta, objection: Objection): void {
    this.#object(this.#entry(kind, metadata), { type: 'ResolvedRefs', status: 'False' }, objection);
  }

  /** Conflicted is True. */
  conflict(kind: KindName, metadata: ObjectMeta, objection: Objection): void {
    this.#object(this.#entry(kind, metadata), { type: 'Conflicted', status: 'True' }, objection);
  }

  /** All statuses, sorted by kind, namespace and name. */
  finish(): readonly ObjectStatus[] {
    return [...this.#objects].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, entry]) => finishEntry(entry));
  }

  #object(
    { conditions }: Entry,
    { type, status }: { type: ConditionType; status: 'True' | 'False' },
    { reason, message, field }: Objection,
  ): void {
    const fault = field === undefined ? { message } : { message, field };
    const earlier = conditions.get(type);
    if (earlier?.status === status) earlier.faults.push(fault);
    else conditions.set(type, { status, reason, faults: [fault] });
  }

  #entry(kind: KindName, metadata: ObjectMeta): Entry {
    const key = `${kind}/${objectKey(metadata.namespace, metadata.name)}`;
    let entry = this.#objects.get(key);
    if (entry === undefined) {
      const reference = { kind, namespace: metadata.namespace, name: metadata.name };
      entry = { reference, metadata, conditions: new Map() };
      this.#objects.set(key, entry);
    }
    return entry;
  }
}

function finishEntry({ reference, metadata, conditions }: Entry): ObjectStatus {
  const all = new Map(conditions);
  if (!all.has('Accepted')) all.set('Accepted', accepted);
  const finished = [...all].map(([type, { status, reason, faults }]) => {
    const bad = isBadCondition({ type, status });
    return { type, status, reason, message: summary(faults), faults: bad ? faults : [] };
  });
  return {
    ...reference,
    ...(metadata.generation === undefined ? {} : { generation: metadata.generation }),
    conditions: finished.sort((a, b) => (a.type < b.type ? -1 : 1)),
  };
}

function summary(faults: readonly Fault[]): string {
  const shown = faults
    .slice(0, maxFaults)
    .map(({ field, message }) => (field === undefined ? message : `${formatFieldPath(field)}: ${message}`));
  if (faults.length > maxFaults) shown.push(`and ${faults.length - maxFaults} more`);
  return shown.join('; ');
}
