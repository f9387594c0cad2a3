// Which endpoints one pick may choose, and how much of its share each gets. One object a balancer, set before each pick:
// a pick allocates nothing for it.

import type { WorkloadUid } from '../model/workload.ts';
import type { Candidate } from './endpoint-list.ts';
import { mixHash } from './text-hash.ts';
import type { Tier } from './tier.ts';

/** A new endpoint begins with this share of its share: without any traffic it would never get warm. */
const firstShare = 0.1;

export class Admission {
  now = 0;
  excluded: ReadonlySet<WorkloadUid> = new Set();
  /** Ejected endpoints too: the last resort. */
  admitsEjected = false;
  /** 0: no endpoint starts slowly. */
  slowStartMs = 0;
  /** The pick is for one request of many on a connection: what is under way counts, not what is being opened. */
  forRequest = false;

  admits({ state }: Candidate): boolean {
    return !this.excluded.has(state.uid) && (this.admitsEjected || state.health.isInRotation(this.now));
  }

  /** Whether some endpoint of the tier has not its full share yet. */
  startsSlowly(tier: Tier): boolean {
    return this.slowStartMs > 0 && this.now - tier.youngestSince < this.slowStartMs;
  }

  /** Of the traffic that its weight entitles it to, above 0 and at most 1; rises with its age. */
  shareOf(candidate: Candidate): number {
    const age = this.now - candidate.since;
    if (age >= this.slowStartMs) return 1;
    return Math.max(firstShare, age / this.slowStartMs);
  }

  /** Whether a hash has come over to the endpoint yet: once it has, it stays. */
  hasComeOver(candidate: Candidate, hash: number): boolean {
    return mixHash(hash ^ 0x2545f491) < this.shareOf(candidate) * 2 ** 32;
  }
}
