// Why a pod of the mesh is not ready, in the words that lead to the cause: the container's, else the scheduler's.

import type { PodFact } from './cluster-facts.ts';

export function isReady({ status }: PodFact): boolean {
  return status?.conditions?.some(({ type, status: value }) => type === 'Ready' && value === 'True') ?? false;
}

/** Of a pod that is not ready. */
export function podProblem({ status }: PodFact): string {
  for (const { state, restartCount = 0 } of status?.containerStatuses ?? []) {
    const { waiting, terminated } = state ?? {};
    const restarts = restartCount === 0 ? '' : `, started again ${restartCount} times`;
    if (waiting?.reason !== undefined && waiting.reason !== 'ContainerCreating')
      return `${waiting.reason}${waiting.message === undefined ? '' : `: ${waiting.message}`}${restarts}`;
    if (terminated !== undefined)
      return `${terminated.reason ?? 'ended'} with status ${terminated.exitCode ?? '?'}${restarts}`;
  }
  const scheduled = status?.conditions?.find(
    ({ type, status: value }) => type === 'PodScheduled' && value === 'False',
  );
  if (scheduled !== undefined) return `${scheduled.reason ?? 'not scheduled'}: ${scheduled.message ?? ''}`;
  return status?.phase === 'Running' ? 'it runs, but is not ready yet' : 'it is starting';
}
