// What translation says about each object, as Kubernetes-style conditions. Pure data: transition times and writing
// them anywhere are the business of whoever publishes statuses.

import type { ObjectMeta } from '../resources/object-meta.ts';
import { type KindName, type ObjectReference, objectKey } from '../resources/resources.ts';
import type { FieldPath } from '../source/problem.ts';

export type ConditionType = 'Accepted' | 'ResolvedRefs' | 'Conflicted';

export interface Condition {
  readonly type: ConditionType;
  readonly status: 'True' | 'False';
  /** One word in CamelCase. */
  readonly reason: string;
  readonly message: string;
  /** The field at fault, if it is one. */
  readonly field?: FieldPath;
}

export interface ObjectStatus extends ObjectReference {
  readonly generation?: number;
  /** Sorted by type, at most one of each. */
  readonly conditions: readonly Condition[];
}

/** Bad: Accepted or ResolvedRefs False, Conflicted True. */
export function isBadCondition(condition: Condition): boolean {
  return (condition.status === 'False') === (condition.type !== 'Conflicted');
}

export class StatusCollector {
  readonly #objects = new Map<
    string,
    { reference: ObjectReference; meta: ObjectMeta; conditions: Map<ConditionType, Condition> }
  >();

  /** Announces an object that always gets a status: Accepted unless something else is said about it. */
  announce(kind: KindName, metadata: ObjectMeta): void {
    this.#entry(kind, metadata);
  }

  /** Sets a condition; a second bad one of the same type adds its message, a good one never replaces a bad one. */
  set(kind: KindName, metadata: ObjectMeta, condition: Condition): void {
    const { conditions } = this.#entry(kind, metadata);
    const earlier = conditions.get(condition.type);
    if (earlier === undefined || (!isBadCondition(earlier) && isBadCondition(condition))) {
      conditions.set(condition.type, condition);
    } else if (isBadCondition(earlier) && isBadCondition(condition)) {
      conditions.set(condition.type, { ...earlier, message: `${earlier.message}; ${condition.message}` });
    }
  }

  reject(
    kind: KindName,
    metadata: ObjectMeta,
    problem: { reason: string; message: string; field?: FieldPath },
  ): void {
    this.set(kind, metadata, { type: 'Accepted', status: 'False', ...problem });
  }

  unresolved(
    kind: KindName,
    metadata: ObjectMeta,
    problem: { reason: string; message: string; field?: FieldPath },
  ): void {
    this.set(kind, metadata, { type: 'ResolvedRefs', status: 'False', ...problem });
  }

  conflict(
    kind: KindName,
    metadata: ObjectMeta,
    problem: { reason: string; message: string; field?: FieldPath },
  ): void {
    this.set(kind, metadata, { type: 'Conflicted', status: 'True', ...problem });
  }

  /** All statuses, sorted by kind, namespace and name. */
  finish(): readonly ObjectStatus[] {
    return [...this.#objects]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([, { reference, meta, conditions }]) => {
        if (!conditions.has('Accepted')) {
          conditions.set('Accepted', {
            type: 'Accepted',
            status: 'True',
            reason: 'Accepted',
            message: 'In force',
          });
        }
        return {
          ...reference,
          ...(meta.generation === undefined ? {} : { generation: meta.generation }),
          conditions: [...conditions.values()].sort((a, b) => (a.type < b.type ? -1 : 1)),
        };
      });
  }

  #entry(kind: KindName, meta: ObjectMeta) {
    const key = `${kind}/${objectKey(meta.namespace, meta.name)}`;
    let entry = this.#objects.get(key);
    if (entry === undefined) {
      const reference = { kind, namespace: meta.namespace, name: meta.name };
      entry = { reference, meta, conditions: new Map() };
      this.#objects.set(key, entry);
    }
    return entry;
  }
}
