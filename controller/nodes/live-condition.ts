// The condition `weft.dev/Captured` as a pod in the API server has it. Somebody else may have written it, so it is read with
// care.

import type { KeepStatus } from '../source/kind-objects.ts';
import { capturedConditionType, type PodCondition } from './pod-condition.ts';

export interface LiveCondition extends PodCondition {
  readonly lastTransitionTime?: string;
}

/** Of a whole pod status the one condition; nothing of a pod that has none. */
export const keepCapturedCondition: KeepStatus = (status) => {
  const { conditions } = (status ?? {}) as { conditions?: unknown };
  if (!Array.isArray(conditions)) return undefined;
  const found: unknown = conditions.find((each) => each?.type === capturedConditionType);
  return found === undefined ? undefined : { status: readCondition(found as Record<string, unknown>) };
};

function readCondition({
  status,
  reason,
  message,
  lastTransitionTime,
}: Record<string, unknown>): LiveCondition {
  return {
    status: status as LiveCondition['status'],
    reason: typeof reason === 'string' ? reason : '',
    message: typeof message === 'string' ? message : '',
    ...(typeof lastTransitionTime === 'string' && { lastTransitionTime }),
  };
}
