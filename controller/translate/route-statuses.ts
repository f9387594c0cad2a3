// What a route is told about one of its parents, as the Gateway API's RouteParentStatus has it.

import type { RouteNotes } from './route-draft.ts';
import type { RouteParent } from './route-parents.ts';
import { badCondition, type Condition, goodCondition, type Objection, type PartStatus } from './statuses.ts';

export interface ParentOutcome {
  readonly parent: RouteParent;
  readonly notes: RouteNotes;
  /** Rules the route has, and those that are left. */
  readonly ruleCount: number;
  readonly kept: number;
  /** Where another route decides alone. */
  readonly shadowed: readonly Objection[];
  /** Whether a waypoint serves the parent. */
  readonly served: boolean;
}

/** Conditions are sorted by type. */
export function parentStatus(outcome: ParentOutcome): PartStatus {
  const { parent, notes } = outcome;
  const accepted = acceptance(outcome);
  const conditions: Condition[] = [accepted];
  const { references, invalid } = notes;
  conditions.push(
    references.length === 0
      ? goodCondition('ResolvedRefs', 'ResolvedRefs', 'Everything it refers to exists and may be referred to')
      : badCondition('ResolvedRefs', references),
  );
  if (accepted.status === 'True') {
    if (invalid.size > 0) conditions.push(partlyInvalid(notes));
    conditions.push(programmed(outcome));
  }
  return { ref: parent.ref, conditions: conditions.sort((a, b) => (a.type < b.type ? -1 : 1)) };
}

function acceptance({ parent, notes, ruleCount, kept, shadowed }: ParentOutcome): Condition {
  if (parent.objection !== undefined) return badCondition('Accepted', [parent.objection]);
  const { invalid } = notes;
  if (ruleCount > 0 && (kept === 0 || invalid.size === ruleCount))
    return badCondition('Accepted', objectionsOf(notes));
  if (shadowed.length > 0) return badCondition('Accepted', shadowed);
  return goodCondition('Accepted', 'Accepted', 'In force for this parent');
}

/** The Gateway API wants the message to begin with these words. */
function partlyInvalid(notes: RouteNotes): Condition {
  const condition = badCondition('PartiallyInvalid', objectionsOf(notes));
  const rules = [...notes.invalid.keys()].sort((a, b) => a - b).join(', ');
  return { ...condition, message: `Dropped Rule ${rules} (counted from 0): ${condition.message}` };
}

function objectionsOf({ invalid }: RouteNotes): readonly Objection[] {
  return [...invalid.values()].flat().map((fault) => ({ ...fault, reason: 'UnsupportedValue' }));
}

function programmed({ parent, served }: ParentOutcome): Condition {
  if (served) return goodCondition('Programmed', 'Programmed', 'The waypoint of its parent is sent it');
  const message =
    'Nothing enforces the route: its parent has no usable waypoint (label weft.dev/waypoint on the Service or its namespace)';
  return badCondition('Programmed', [{ reason: 'NoWaypoint', message, field: parent.at }]);
}
