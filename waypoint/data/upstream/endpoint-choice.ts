// Which endpoint the next try of one request or connection goes to: one that can be reached and was not tried before, as
// long as there is one.

import type { PickResult } from '../../../mesh/balance/balancer.ts';
import type { HttpTrafficPolicy } from '../../../mesh/model/traffic-policy.ts';
import type { WorkloadUid } from '../../../mesh/model/workload.ts';
import type { ServiceTarget, Upstream } from './upstream.ts';

const nobody: ReadonlySet<WorkloadUid> = new Set();

export class EndpointChoice {
  readonly #upstream: Upstream;
  readonly #unit: 'request' | 'connection';
  #excluded: Set<WorkloadUid> | undefined;
  /** Why the last endpoint that could not even be tried was passed over. */
  skipped: string | undefined;

  constructor(upstream: Upstream, unit: 'request' | 'connection') {
    this.#upstream = upstream;
    this.#unit = unit;
  }

  /** Where every one was tried, one of them once more: better that than nobody. */
  next(target: ServiceTarget, settings: HttpTrafficPolicy | undefined): PickResult {
    for (;;) {
      const excluded = this.#excluded ?? nobody;
      const picked = this.#upstream.pick(target, settings, { unit: this.#unit, excluded });
      if (picked.kind === 'endpoint') {
        const { workload } = picked.endpoint;
        const unreachable = this.#upstream.unreachable(workload);
        if (unreachable === undefined) return picked;
        this.skip(workload.uid, unreachable);
        continue;
      }
      const again =
        picked.reason === 'all-excluded' && this.#unit === 'request' && this.skipped === undefined;
      if (!again || this.#excluded === undefined) return picked;
      this.#excluded = undefined;
    }
  }

  /** It was tried. */
  exclude(uid: WorkloadUid): void {
    (this.#excluded ??= new Set()).add(uid);
  }

  /** It can not even be tried. */
  skip(uid: WorkloadUid, reason: string): void {
    this.exclude(uid);
    this.skipped = reason;
  }
}
