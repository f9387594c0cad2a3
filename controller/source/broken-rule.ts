// What a rule between fields says when it is broken, and the one rule that kinds share: the group of a target.

import type { TargetRef } from '../resources/own-kinds.ts';
import type { FieldPath } from './problem.ts';

export interface BrokenRule {
  readonly path: FieldPath;
  readonly message: string;
}

/** @param groups the groups a target of each kind may be written with */
export function groupRules(
  targets: readonly TargetRef[],
  groups: Readonly<Record<string, readonly string[]>>,
  message: string,
): BrokenRule[] {
  return targets.flatMap((target, i) =>
    groups[target.kind]?.includes(target.group)
      ? []
      : [{ path: ['spec', 'targetRefs', i, 'group'], message }],
  );
}
