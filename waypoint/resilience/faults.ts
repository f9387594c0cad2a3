// Which injected fault a request meets. Pure: the random numbers are given, and the caller waits and answers.

import type { RequestHead } from '../../mesh/http/message.ts';
import type { Fault } from '../../mesh/model/traffic-policy.ts';
import { meetsCondition } from './request-condition.ts';

export interface ChosenFault {
  /** Before anything else happens to the request; 0 none. */
  readonly delayMs: number;
  /** What to answer, after the delay, instead of sending the request on. */
  readonly abort: { readonly status: number; readonly grpcStatus: number | undefined } | undefined;
}

const noFault: ChosenFault = Object.freeze({ delayMs: 0, abort: undefined });

/**
 * Each fault that concerns the request is drawn by its own percentages: the longest delay counts, and the first abort.
 * @param random uniform in [0, 1)
 */
export function chooseFault(
  faults: readonly Fault[] | undefined,
  head: RequestHead,
  random: () => number,
): ChosenFault {
  if (faults === undefined || faults.length === 0) return noFault;
  let delayMs = 0;
  let abort: ChosenFault['abort'];
  for (const fault of faults) {
    if (!meetsCondition(head, fault.when)) continue;
    if (fault.delay !== undefined && hits(fault.delay.percent, random))
      delayMs = Math.max(delayMs, fault.delay.ms);
    if (fault.abort !== undefined && hits(fault.abort.percent, random)) abort ??= fault.abort;
  }
  return delayMs === 0 && abort === undefined ? noFault : { delayMs, abort };
}

function hits(percent: number, random: () => number): boolean {
  return random() * 100 < percent;
}
