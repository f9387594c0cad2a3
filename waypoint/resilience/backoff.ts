// How long to wait before a request is tried again: full jitter over an exponential rise, so that requests that failed
// together do not come back together.

/** The rise ends at this many times the base (Envoy's default); a request's own deadline is seldom longer. */
const maxRise = 10;

export interface BackoffSettings {
  /** Top of the range before the first retry, doubled for each further one. */
  readonly baseMs: number;
  /** Never less than this: Gateway API's `backoff` is a minimum. */
  readonly floorMs: number;
}

/**
 * Uniform between the floor and the floor plus the range of this retry.
 * @param retry 1 for the first retry
 * @param random uniform in [0, 1)
 */
export function backoffMs(settings: BackoffSettings, retry: number, random: () => number): number {
  const rise = Math.min(2 ** Math.max(0, retry - 1), maxRise);
  return settings.floorMs + random() * settings.baseMs * rise;
}
