// When a second try of a request is started beside the first, which goes on: the first good answer counts and the others
// are cancelled. Only for requests that may be repeated, whose body can be sent again, and within the retry budget.

import type { HttpTrafficPolicy } from '../../mesh/model/traffic-policy.ts';
import { isIdempotent } from './retry-policy.ts';

export interface HedgeFacts {
  readonly method: string;
  /** The whole request is at hand to be sent once more. */
  readonly replayable: boolean;
  /** Tries started so far, the first included. */
  readonly tries: number;
}

/** Ms after the last try was started, unless a response's head came; undefined: no further try. */
export function hedgeDelayMs(policy: HttpTrafficPolicy | undefined, facts: HedgeFacts): number | undefined {
  const hedging = policy?.hedging;
  if (hedging === undefined || !facts.replayable || !isIdempotent(facts.method)) return undefined;
  return facts.tries < hedging.maxAttempts ? hedging.delayMs : undefined;
}
