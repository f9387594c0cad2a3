// Asks the policies of a workload about a connection. Compiles each candidate list once: the snapshot hands out the same
// array as long as its policies are the same, so a compiled set lives exactly as long as its list.

import type { AuthorizationPolicy } from '../model/authorization.ts';
import type { Workload } from '../model/workload.ts';
import type { ConnectionFacts } from './connection.ts';
import { type Decision, PolicySet } from './policy-set.ts';

/** What is needed of a snapshot of the store. */
export interface PolicySource {
  policiesFor(workload: Workload): readonly AuthorizationPolicy[];
}

export class Authorizer {
  readonly #sets = new WeakMap<readonly AuthorizationPolicy[], PolicySet>();

  /** `workload` is the destination. A destination that is not known has no policies to ask: refuse before this. */
  authorize(snapshot: PolicySource, workload: Workload, facts: ConnectionFacts): Decision {
    const policies = snapshot.policiesFor(workload);
    let set = this.#sets.get(policies);
    if (set === undefined) {
      set = new PolicySet(policies);
      this.#sets.set(policies, set);
    }
    return set.decide(facts);
  }
}
