// What translation says of an object to the status that is written to it: conditions in the form of the Kubernetes API,
// with the generation they were computed from. Pure. Times of transition are kept as long as a condition's value is.

import type { ObjectStatus } from './translate/statuses.ts';

export interface WrittenCondition {
  readonly type: string;
  readonly status: string;
  readonly reason: string;
  readonly message: string;
  readonly observedGeneration: number;
  readonly lastTransitionTime: string;
}

export interface WrittenStatus {
  readonly observedGeneration: number;
  readonly conditions: readonly WrittenCondition[];
}

type Wanted = Omit<WrittenCondition, 'observedGeneration' | 'lastTransitionTime'>;

/** Of the CRDs; a message is cut to it. */
const maxMessage = 32_768;
/** Kinds that refer to other objects. */
const referringKinds: ReadonlySet<string> = new Set(['AuthorizationPolicy', 'TrafficPolicy', 'ServiceEntry']);

/** `now` is the wall clock in ms. `current` is the status as the object has it, whoever wrote it. */
export function writtenStatus(
  status: ObjectStatus,
  { current, now }: { readonly current: unknown; readonly now: number },
): WrittenStatus {
  const generation = status.generation ?? 0;
  const before = conditionsOf(current);
  const time = `${new Date(now).toISOString().slice(0, 19)}Z`;
  const conditions = wantedConditions(status).map((condition) => {
    const earlier = before.find(({ type }) => type === condition.type);
    const kept = earlier?.status === condition.status ? earlier.lastTransitionTime : undefined;
    return {
      ...condition,
      message: condition.message.slice(0, maxMessage),
      observedGeneration: generation,
      lastTransitionTime: kept ?? time,
    };
  });
  return { observedGeneration: generation, conditions };
}

/** Whether the object says already what `wanted` says, times aside. */
export function isWritten(wanted: WrittenStatus, current: unknown): boolean {
  const { observedGeneration } = (current ?? {}) as { observedGeneration?: unknown };
  if (observedGeneration !== wanted.observedGeneration) return false;
  const present = conditionsOf(current);
  return wanted.conditions.every((condition) => {
    const same = present.find(({ type }) => type === condition.type);
    return (
      same !== undefined &&
      same.status === condition.status &&
      same.reason === condition.reason &&
      same.message === condition.message &&
      same.observedGeneration === condition.observedGeneration
    );
  });
}

function wantedConditions({ kind, conditions }: ObjectStatus): readonly Wanted[] {
  const said = new Map<string, Wanted>(
    conditions.map(({ type, status, reason, message }) => [type, { type, status, reason, message }]),
  );
  const wanted: Wanted[] = [said.get('Accepted') ?? good('Accepted', 'Accepted', 'In force')];
  const conflicted = said.get('Conflicted');
  wanted.push(
    conflicted ?? {
      type: 'Conflicted',
      status: 'False',
      reason: 'NoConflicts',
      message: 'No other object takes precedence',
    },
  );
  wanted.push(programmed(wanted[0] as Wanted, conflicted));
  const resolved = said.get('ResolvedRefs');
  if (resolved !== undefined) wanted.push(resolved);
  else if (referringKinds.has(kind))
    wanted.push(good('ResolvedRefs', 'ResolvedRefs', 'Everything it refers to exists'));
  return wanted;
}

function programmed(accepted: Wanted, conflicted: Wanted | undefined): Wanted {
  if (accepted.status !== 'True') {
    const message = 'Not in force, or not as a whole; the condition Accepted says why';
    return { type: 'Programmed', status: 'False', reason: 'NotAccepted', message };
  }
  if (conflicted !== undefined) {
    const message = 'Not in force where another object takes precedence; the condition Conflicted says which';
    return { type: 'Programmed', status: 'False', reason: 'Conflicted', message };
  }
  return good('Programmed', 'Programmed', 'Part of the configuration that nodes are sent');
}

function good(type: string, reason: string, message: string): Wanted {
  return { type, status: 'True', reason, message };
}

/** Whatever is in there: somebody else may have written nonsense. */
function conditionsOf(status: unknown): readonly Partial<WrittenCondition>[] {
  const { conditions } = (status ?? {}) as { conditions?: unknown };
  if (!Array.isArray(conditions)) return [];
  return conditions.filter((condition) => typeof condition === 'object' && condition !== null);
}
