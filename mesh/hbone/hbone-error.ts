// Why a tunnel or a stream in it could not be had. The code is closed; `retryable` says that surely no byte of the
// application reached anybody, so that another endpoint, or a fresh tunnel, may be tried.

export type HboneErrorCode =
  | 'connect-failed'
  | 'tls-failed'
  | 'identity-rejected'
  | 'tunnel-lost'
  | 'tunnel-full'
  | 'denied'
  | 'refused'
  | 'cancelled';

export class HboneError extends Error {
  readonly code: HboneErrorCode;
  readonly retryable: boolean;
  /** HTTP status of the answer to CONNECT, 0 if there was none. */
  readonly status: number;
  /** Denied because it did not come through a waypoint, which this side may just not have heard of yet. */
  readonly waypointRequired: boolean;

  constructor(
    code: HboneErrorCode,
    message: string,
    options: {
      readonly retryable: boolean;
      readonly status?: number;
      readonly waypointRequired?: boolean;
      readonly cause?: unknown;
    },
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'HboneError';
    this.code = code;
    this.retryable = options.retryable;
    this.status = options.status ?? 0;
    this.waypointRequired = options.waypointRequired ?? false;
  }
}
