// What translation says of an object to the status that is written to it, in the form the kind's definition has: conditions
// with the generation they were computed from; for routes and policies one entry for each parent or target, beside which
// other controllers' entries stay as they are. Pure. Times of transition are kept as long as a condition's value is.

import { modelEqual } from '../mesh/model/diff.ts';
import type { ParentReference } from './resources/gateway-fields.ts';
import { gatewayGroup, gatewayKindNames, routeKindNames } from './resources/gateway-kinds.ts';
import { controllerName } from './translate/gateways.ts';
import type { Condition, GatewayDetails, ObjectStatus, PartStatus } from './translate/statuses.ts';

export interface WrittenCondition {
  readonly type: string;
  readonly status: string;
  readonly reason: string;
  readonly message: string;
  readonly observedGeneration: number;
  readonly lastTransitionTime: string;
}

/** Entry of a route's parents (`parentRef`) or of a policy's ancestors (`ancestorRef`). */
export interface WrittenPart {
  readonly parentRef?: ParentReference;
  readonly ancestorRef?: ParentReference;
  readonly controllerName: string;
  readonly conditions: readonly WrittenCondition[];
}

export interface WrittenStatus {
  readonly observedGeneration?: number;
  readonly conditions?: readonly WrittenCondition[];
  /** Others' entries, then ours. */
  readonly parents?: readonly WrittenPart[];
  readonly ancestors?: readonly WrittenPart[];
  readonly addresses?: GatewayDetails['addresses'];
  readonly listeners?: readonly WrittenListener[];
  readonly supportedFeatures?: readonly { readonly name: string }[];
}

export interface WrittenListener {
  readonly name: string;
  readonly supportedKinds: readonly never[];
  readonly attachedRoutes: number;
  readonly conditions: readonly WrittenCondition[];
}

type Wanted = Pick<Condition, 'status' | 'reason' | 'message'> & { readonly type: string };

/** Of the CRDs; a message is cut to it. */
const maxMessage = 32_768;
/** Of the Gateway API's PolicyStatus. */
const maxAncestors = 16;
/** Kinds that refer to other objects. */
const referringKinds: ReadonlySet<string> = new Set([
  'AuthorizationPolicy',
  'RequestAuthentication',
  'ServiceEntry',
  'TrafficPolicy',
]);
const gatewayKinds: ReadonlySet<string> = new Set(gatewayKindNames);
const routeKinds: ReadonlySet<string> = new Set(routeKindNames);

/** Whether the status is a list that other controllers write to as well, which the API server takes only as a whole. */
export function isSharedStatus(kind: string): boolean {
  return routeKinds.has(kind);
}

/** `now` is the wall clock in ms. `current` is the status as the object has it, whoever wrote it. */
export function writtenStatus(
  status: ObjectStatus,
  { current, now }: { readonly current: unknown; readonly now: number },
): WrittenStatus {
  const generation = status.generation ?? 0;
  const stamp: Stamp = { generation, time: `${new Date(now).toISOString().slice(0, 19)}Z` };
  if (isSharedStatus(status.kind)) {
    const all = partsOf(current, 'parents');
    const ours = (status.parents ?? []).map((part) =>
      writtenPart(part, { field: 'parentRef', before: all, stamp }),
    );
    return { parents: [...all.filter((part) => !isOurs(part)), ...ours] as WrittenPart[] };
  }
  const conditions = stamped(wantedConditions(status), conditionsOf(current), stamp);
  if (gatewayKinds.has(status.kind)) return { conditions, ...gatewayStatus(status, { current, stamp }) };
  if (status.ancestors === undefined) return { observedGeneration: generation, conditions };
  const before = partsOf(current, 'ancestors');
  const ancestors = status.ancestors
    .slice(0, maxAncestors)
    .map((part) => writtenPart(part, { field: 'ancestorRef', before, stamp }));
  return { observedGeneration: generation, conditions, ancestors };
}

/** Whether the object says already what `wanted` says, times aside. */
export function isWritten(wanted: WrittenStatus, current: unknown): boolean {
  const present = (current ?? {}) as Record<string, unknown>;
  if (wanted.observedGeneration !== undefined && present['observedGeneration'] !== wanted.observedGeneration)
    return false;
  return (
    hasConditions(wanted.conditions ?? [], conditionsOf(current)) &&
    sameParts(wanted.parents, current, 'parents') &&
    sameParts(wanted.ancestors, current, 'ancestors') &&
    sameList(wanted.addresses, present['addresses']) &&
    sameList(wanted.supportedFeatures, present['supportedFeatures']) &&
    sameListeners(wanted.listeners, present['listeners'])
  );
}

interface Stamp {
  readonly generation: number;
  readonly time: string;
}

function stamped(
  wanted: readonly Wanted[],
  before: readonly Partial<WrittenCondition>[],
  { generation, time }: Stamp,
): readonly WrittenCondition[] {
  return wanted.map(({ type, status, reason, message }) => {
    const earlier = before.find((condition) => condition.type === type);
    const kept = earlier?.status === status ? earlier.lastTransitionTime : undefined;
    return {
      type,
      status,
      reason,
      message: message.slice(0, maxMessage),
      observedGeneration: generation,
      lastTransitionTime: kept ?? time,
    };
  });
}

type RefField = 'parentRef' | 'ancestorRef';

function writtenPart(
  { ref, conditions }: PartStatus,
  {
    field,
    before,
    stamp,
  }: { readonly field: RefField; readonly before: readonly Partial<WrittenPart>[]; readonly stamp: Stamp },
): WrittenPart {
  const full = filledIn(ref);
  const earlier = before.find((part) => isOurs(part) && sameReference(part[field], full));
  return {
    [field]: full,
    controllerName,
    conditions: stamped(conditions, conditionsOf(earlier), stamp),
  };
}

/** With what the API server fills in, so that what it shows is what was written. */
function filledIn(ref: ParentReference): ParentReference {
  return { ...ref, group: ref.group ?? gatewayGroup, kind: ref.kind ?? 'Gateway' };
}

function isOurs(part: Partial<WrittenPart>): boolean {
  return part.controllerName === controllerName;
}

function sameReference(a: ParentReference | undefined, b: ParentReference | undefined): boolean {
  const text = (ref: ParentReference | undefined) =>
    JSON.stringify([ref?.group, ref?.kind, ref?.namespace, ref?.name, ref?.sectionName, ref?.port]);
  return text(a) === text(b);
}

function gatewayStatus(
  { gateway, supportedFeatures }: ObjectStatus,
  { current, stamp }: { readonly current: unknown; readonly stamp: Stamp },
): Partial<WrittenStatus> {
  const features = supportedFeatures?.map((name) => ({ name }));
  if (gateway === undefined) return features === undefined ? {} : { supportedFeatures: features };
  const before = listOf((current as { listeners?: unknown } | undefined)?.listeners);
  const listeners = gateway.listeners.map(({ name, attachedRoutes, conditions }) => {
    const earlier = conditionsOf(before.find((listener) => (listener as { name?: unknown }).name === name));
    return { name, supportedKinds: [], attachedRoutes, conditions: stamped(conditions, earlier, stamp) };
  });
  return { addresses: gateway.addresses, listeners };
}

function wantedConditions(status: ObjectStatus): readonly Wanted[] {
  const { kind, conditions } = status;
  const said = new Map<string, Wanted>(conditions.map((condition) => [condition.type, condition]));
  const accepted = said.get('Accepted') ?? good('Accepted', 'Accepted', 'In force');
  if (kind === 'GatewayClass') return [accepted];
  const conflicted = said.get('Conflicted');
  const wanted: Wanted[] = [accepted];
  if (kind !== 'Gateway') wanted.push(conflicted ?? noConflict);
  wanted.push(said.get('Programmed') ?? programmed(accepted, conflicted));
  const resolved = said.get('ResolvedRefs');
  if (resolved !== undefined) wanted.push(resolved);
  else if (referringKinds.has(kind))
    wanted.push(good('ResolvedRefs', 'ResolvedRefs', 'Everything it refers to exists'));
  return wanted;
}

const noConflict: Wanted = {
  type: 'Conflicted',
  status: 'False',
  reason: 'NoConflicts',
  message: 'No other object takes precedence',
};

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

function hasConditions(
  wanted: readonly WrittenCondition[],
  present: readonly Partial<WrittenCondition>[],
): boolean {
  return wanted.every((condition) => {
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

/** Ours only: whatever others have beside them is theirs. A condition too many is a difference. */
function sameParts(
  wanted: readonly WrittenPart[] | undefined,
  current: unknown,
  field: 'parents' | 'ancestors',
): boolean {
  if (wanted === undefined) return true;
  const ours = wanted.filter(isOurs);
  const present = partsOf(current, field).filter(isOurs);
  return (
    ours.length === present.length &&
    ours.every((part) => {
      const same = present.find(
        (other) =>
          sameReference(part.parentRef, other.parentRef) &&
          sameReference(part.ancestorRef, other.ancestorRef),
      );
      return (
        same !== undefined &&
        conditionsOf(same).length === part.conditions.length &&
        hasConditions(part.conditions, conditionsOf(same))
      );
    })
  );
}

function sameListeners(wanted: readonly WrittenListener[] | undefined, current: unknown): boolean {
  if (wanted === undefined) return true;
  const present = listOf(current) as readonly Partial<WrittenListener>[];
  return (
    wanted.length === present.length &&
    wanted.every(({ name, conditions, attachedRoutes }) => {
      const same = present.find((listener) => listener.name === name);
      return same?.attachedRoutes === attachedRoutes && hasConditions(conditions, conditionsOf(same));
    })
  );
}

/** Of plain values, in any order. */
function sameList(wanted: readonly object[] | undefined, current: unknown): boolean {
  if (wanted === undefined) return true;
  const present = listOf(current);
  return (
    wanted.length === present.length &&
    wanted.every((item) => present.some((other) => modelEqual(item, other)))
  );
}

function partsOf(status: unknown, field: 'parents' | 'ancestors'): readonly Partial<WrittenPart>[] {
  return listOf(((status ?? {}) as Record<string, unknown>)[field]);
}

/** Whatever is in there: somebody else may have written nonsense. */
function conditionsOf(status: unknown): readonly Partial<WrittenCondition>[] {
  return listOf(((status ?? {}) as { conditions?: unknown }).conditions);
}

function listOf(value: unknown): readonly object[] {
  return Array.isArray(value) ? value.filter((item) => typeof item === 'object' && item !== null) : [];
}
