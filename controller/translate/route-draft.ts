// What translating one route finds wrong, rule by rule, while its rules are made. A rule that cannot be what it says is
// dropped if its matches are at fault; if anything else is, it stays and answers 500, so that its requests do not fall
// to a rule that was not meant for them.

import type { RouteName } from '../../mesh/model/routing.ts';
import type { RouteKindName } from '../resources/gateway-kinds.ts';
import type { ObjectMeta } from '../resources/object-meta.ts';
import type { FieldPath } from '../source/problem.ts';
import type { Fault, Objection } from './statuses.ts';

export class RouteNotes {
  readonly kind: RouteKindName;
  readonly metadata: ObjectMeta;
  /** What is wrong with rules, by the rule's index. */
  readonly invalid = new Map<number, Fault[]>();
  /** Keys (servicesByObject()) of the services the route has as parents. */
  readonly parents: ReadonlySet<string>;
  /** References that lead nowhere. */
  readonly references: Objection[] = [];

  constructor(kind: RouteKindName, metadata: ObjectMeta, parents: ReadonlySet<string>) {
    this.kind = kind;
    this.metadata = metadata;
    this.parents = parents;
  }

  rule(index: number, name: string | undefined): RuleNotes {
    return new RuleNotes(this, index, name);
  }
}

export class RuleNotes {
  readonly route: RouteNotes;
  readonly index: number;
  readonly name: RouteName;
  /** Of the rule in the object. */
  readonly at: FieldPath;
  /** The rule cannot match what it says. */
  unmatchable = false;

  constructor(route: RouteNotes, index: number, name: string | undefined) {
    const { namespace, name: of } = route.metadata;
    this.route = route;
    this.index = index;
    this.name = { kind: route.kind, namespace, name: of, rule: name ?? String(index) };
    this.at = ['spec', 'rules', index];
  }

  get isInvalid(): boolean {
    return this.route.invalid.has(this.index);
  }

  /** `field` is relative to the rule. */
  invalid(field: FieldPath, message: string): void {
    const fault = { message, field: [...this.at, ...field] };
    const faults = this.route.invalid.get(this.index);
    if (faults === undefined) this.route.invalid.set(this.index, [fault]);
    else faults.push(fault);
  }

  /** As invalid(), for what decides which requests the rule is for. */
  invalidMatch(field: FieldPath, message: string): void {
    this.unmatchable = true;
    this.invalid(field, message);
  }

  unresolved(field: FieldPath, { reason, message }: Objection): void {
    this.route.references.push({ reason, message, field: [...this.at, ...field] });
  }
}
