// What translation says about each object, as Kubernetes-style conditions. Pure data: transition times and writing
// them anywhere are the business of whoever publishes statuses.

import type { ParentReference } from '../resources/gateway-fields.ts';
import { routeKindNames } from '../resources/gateway-kinds.ts';
import type { ObjectMeta } from '../resources/object-meta.ts';
import { type KindName, type ObjectReference, objectKey } from '../resources/resources.ts';
import { type FieldPath, formatFieldPath } from '../source/problem.ts';

export type ConditionType = 'Accepted' | 'ResolvedRefs' | 'Conflicted' | 'PartiallyInvalid' | 'Programmed';

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
  /** Sorted by type, at most one of each. Empty for a route, which has parents. */
  readonly conditions: readonly Condition[];
  /** Of a route: what each of its parents makes of it (Gateway API, RouteParentStatus), as its parentRefs are ordered. */
  readonly parents?: readonly PartStatus[];
  /** Of a policy: what became of each of its targets (Gateway API, PolicyAncestorStatus). */
  readonly ancestors?: readonly PartStatus[];
  readonly gateway?: GatewayDetails;
  /** Of a GatewayClass; sorted. */
  readonly supportedFeatures?: readonly string[];
}

export interface PartStatus {
  /** As the object wrote it. */
  readonly ref: ParentReference;
  readonly conditions: readonly Condition[];
}

/** What the status of a Gateway says besides conditions. */
export interface GatewayDetails {
  readonly addresses: readonly { readonly type: 'IPAddress' | 'Hostname'; readonly value: string }[];
  readonly listeners: readonly {
    readonly name: string;
    readonly attachedRoutes: number;
    readonly conditions: readonly Condition[];
  }[];
}

/** Bad: Accepted, ResolvedRefs or Programmed False, Conflicted or PartiallyInvalid True. */
export function isBadCondition({ type, status }: Pick<Condition, 'type' | 'status'>): boolean {
  return (status === 'False') === (type !== 'Conflicted' && type !== 'PartiallyInvalid');
}

/** Those of the object itself, its parents and its listeners, each once; ancestors only repeat them. */
export function allConditions(status: ObjectStatus): readonly Condition[] {
  const parts = (status.parents ?? []).flatMap((part) => part.conditions);
  const listeners = (status.gateway?.listeners ?? []).flatMap((listener) => listener.conditions);
  const seen = new Set<string>();
  return [...status.conditions, ...parts, ...listeners].filter((condition) => {
    const text = JSON.stringify([condition.type, condition.status, condition.reason, condition.message]);
    return !seen.has(text) && seen.add(text);
  });
}

/** A condition that is as it should be. */
export function goodCondition(type: ConditionType, reason: string, message: string): Condition {
  const status = type === 'Conflicted' || type === 'PartiallyInvalid' ? 'False' : 'True';
  return { type, status, reason, message, faults: [] };
}

/** A condition that is not, for the first objection's reason. `objections` is not empty. */
export function badCondition(type: ConditionType, objections: readonly Objection[]): Condition {
  const status = type === 'Conflicted' || type === 'PartiallyInvalid' ? 'True' : 'False';
  const faults = objections.map(({ message, field }) =>
    field === undefined ? { message } : { message, field },
  );
  return { type, status, reason: objections[0]?.reason ?? '', message: summary(faults), faults };
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
  details?: StatusDetails;
}

type StatusDetails = Pick<ObjectStatus, 'parents' | 'ancestors' | 'gateway' | 'supportedFeatures'>;

const accepted: Draft = { status: 'True', reason: 'Accepted', faults: [{ message: 'In force' }] };

export class StatusCollector {
  readonly #objects = new Map<string, Entry>();

  /** Announces an object that always gets a status: Accepted unless something else is said about it. */
  announce(kind: KindName, metadata: ObjectMeta): void {
    this.#entry(kind, metadata);
  }

  /** Whether something was said about the object. */
  has(kind: KindName, { namespace, name }: ObjectMeta): boolean {
    return this.#objects.has(`${kind}/${objectKey(namespace, name)}`);
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

  /** Programmed is False: in order, but without effect as yet. */
  notProgrammed(kind: KindName, metadata: ObjectMeta, objection: Objection): void {
    this.#object(this.#entry(kind, metadata), { type: 'Programmed', status: 'False' }, objection);
  }

  /** What the status says besides conditions; replaces the fields that were given before. */
  describe(kind: KindName, metadata: ObjectMeta, details: StatusDetails): void {
    const entry = this.#entry(kind, metadata);
    entry.details = { ...entry.details, ...details };
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

const routeKinds: ReadonlySet<string> = new Set(routeKindNames);

function finishEntry({ reference, metadata, conditions, details }: Entry): ObjectStatus {
  const all = new Map(conditions);
  if (!all.has('Accepted') && !routeKinds.has(reference.kind)) all.set('Accepted', accepted);
  const finished = [...all].map(([type, { status, reason, faults }]) => {
    const bad = isBadCondition({ type, status });
    return { type, status, reason, message: summary(faults), faults: bad ? faults : [] };
  });
  return {
    ...reference,
    ...(metadata.generation === undefined ? {} : { generation: metadata.generation }),
    conditions: finished.sort((a, b) => (a.type < b.type ? -1 : 1)),
    ...details,
  };
}

function summary(faults: readonly Fault[]): string {
  const shown = faults
    .slice(0, maxFaults)
    .map(({ field, message }) => (field === undefined ? message : `${formatFieldPath(field)}: ${message}`));
  if (faults.length > maxFaults) shown.push(`and ${faults.length - maxFaults} more`);
  return shown.join('; ');
}
