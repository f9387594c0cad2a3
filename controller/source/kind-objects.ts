// The objects of one kind as a cluster source keeps them: validated, trimmed, in their last good version, sorted by
// key. What is wrong with an object is a problem beside it. No network and no timers here.

import { isDeepStrictEqual } from 'node:util';
import type { RawObject } from '../kubernetes/kind-watch.ts';
import type { ResourceKind } from '../resources/resource-kind.ts';
import { type ObjectKey, objectKey, type TypedObject } from '../resources/resources.ts';
import { formatFieldPath, type Problem } from './problem.ts';
import { validateObject } from './validate-object.ts';

/** What stands in for the file in problems of objects from a cluster. */
export const clusterPlace = 'kubernetes';

/** What a status writer must know of an object that is not part of the configuration. */
export interface LiveStatus {
  readonly uid: string;
  readonly apiVersion: string;
  readonly generation: number | undefined;
  readonly resourceVersion: string;
  /** As the object has it. */
  readonly status: unknown;
}

interface Held {
  readonly uid: string;
  readonly object: TypedObject['object'] | undefined;
  readonly problems: readonly Problem[];
  readonly live: LiveStatus | undefined;
}

/** What is kept of an object's status for a writer; undefined: that object concerns none. */
export type KeepStatus = (status: unknown) => { readonly status: unknown } | undefined;

export const keepWholeStatus: KeepStatus = (status) => ({ status });
export const keepNoStatus: KeepStatus = () => undefined;

export interface KindObjectsOptions {
  readonly keepStatus: KeepStatus;
}

export class KindObjects {
  readonly #kind: ResourceKind;
  readonly #keepStatus: KeepStatus;
  #held = new Map<ObjectKey, Held>();
  #sorted: ReadonlyMap<ObjectKey, TypedObject['object']> | undefined;
  /** Changes since `#sorted` was made; of no meaning while that is undefined. */
  readonly #replaced = new Map<ObjectKey, TypedObject['object']>();

  constructor(kind: ResourceKind, { keepStatus }: KindObjectsOptions) {
    this.#kind = kind;
    this.#keepStatus = keepStatus;
  }

  /** Sorted by key; the same map as long as nothing changed. */
  get objects(): ReadonlyMap<ObjectKey, TypedObject['object']> {
    if (this.#sorted === undefined) {
      const usable: [ObjectKey, TypedObject['object']][] = [];
      for (const [key, { object }] of this.#held) if (object !== undefined) usable.push([key, object]);
      this.#sorted = new Map(usable.sort(([a], [b]) => (a < b ? -1 : 1)));
      this.#replaced.clear();
    }
    if (this.#replaced.size > 0) {
      // A copy: who read the last one keeps it as it was.
      const next = new Map(this.#sorted);
      for (const [key, object] of this.#replaced) next.set(key, object);
      this.#sorted = next;
      this.#replaced.clear();
    }
    return this.#sorted;
  }

  get problems(): readonly Problem[] {
    const problems: Problem[] = [];
    for (const held of this.#held.values()) problems.push(...held.problems);
    return problems;
  }

  live(key: ObjectKey): LiveStatus | undefined {
    return this.#held.get(key)?.live;
  }

  /** `''` if the object is not there. */
  uid(key: ObjectKey): string {
    return this.#held.get(key)?.uid ?? '';
  }

  /** False if nothing changed but what the mesh does not read, which is most of what happens to a pod. */
  put(raw: RawObject): boolean {
    const key = keyOf(raw);
    const before = this.#held.get(key);
    const held = this.#hold(raw);
    this.#held.set(key, held);
    if (before !== undefined && isSame(before, held)) {
      // The same value stays the same object, so that readers see at a glance that nothing changed.
      this.#held.set(key, { ...held, object: before.object });
      return false;
    }
    this.#onPut(key, before?.object, held.object);
    return true;
  }

  /** One object in the place of another leaves the order as it is: most changes need no sorting. */
  #onPut(key: ObjectKey, before: Held['object'], after: Held['object']): void {
    if (before === undefined || after === undefined) this.#sorted = undefined;
    else this.#replaced.set(key, after);
  }

  delete(raw: RawObject): void {
    if (this.#held.delete(keyOf(raw))) this.#sorted = undefined;
  }

  /** A complete list; objects that are not in it are gone at commit. */
  beginList(): { add(raw: RawObject): void; commit(): void } {
    const listed = new Map<ObjectKey, Held>();
    return {
      add: (raw) => {
        listed.set(keyOf(raw), this.#hold(raw));
      },
      commit: () => {
        this.#held = listed;
        this.#sorted = undefined;
      },
    };
  }

  #liveOf(raw: RawObject, uid: string): LiveStatus | undefined {
    const kept = this.#keepStatus(raw['status']);
    if (kept === undefined) return undefined;
    return {
      uid,
      apiVersion: raw.apiVersion ?? this.#kind.apiVersion,
      generation: raw.metadata.generation,
      resourceVersion: raw.metadata.resourceVersion ?? '',
      status: kept.status,
    };
  }

  #hold(raw: RawObject): Held {
    const uid = raw.metadata.uid ?? '';
    const live = this.#liveOf(raw, uid);
    const { typed, reference, issues } = validateObject(this.#kind, withoutNoise(raw));
    if (typed !== undefined) return { uid, object: typed.object, problems: [], live };
    const earlier = this.#held.get(keyOf(raw));
    // An object of the same name that was made anew is another object: nothing of the old one stays in force.
    const kept = earlier?.uid === uid ? earlier.object : undefined;
    const place = { file: clusterPlace, line: 0, column: 0 };
    const about = reference === undefined ? {} : { object: reference };
    const problems: Problem[] = issues.map(({ path, message }) => ({
      ...place,
      ...about,
      field: formatFieldPath(path),
      message: reference === undefined ? `${this.#kind.kind} ${keyOf(raw)}: ${message}` : message,
      severity: 'error',
    }));
    if (kept !== undefined) {
      const message = 'Its last good version stays in force until the object is right again';
      problems.push({ ...place, ...about, message, severity: 'warning' });
    }
    return { uid, object: kept, problems, live };
  }
}

function isSame(a: Held, b: Held): boolean {
  return (
    a.uid === b.uid && isDeepStrictEqual(a.object, b.object) && isDeepStrictEqual(a.problems, b.problems)
  );
}

function keyOf({ metadata }: RawObject): ObjectKey {
  return objectKey(metadata.namespace ?? '', metadata.name);
}

/** Who owns which field is by far the largest part of many objects. */
function withoutNoise(raw: RawObject): Record<string, unknown> {
  const { managedFields: _managed, ...metadata } = raw.metadata as Record<string, unknown>;
  return { ...raw, metadata };
}
