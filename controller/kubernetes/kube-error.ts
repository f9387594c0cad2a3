// The errors of talking to a Kubernetes API server, told apart by what the caller can do about them.

export type KubeErrorCode =
  /** The kubeconfig or the in-cluster settings are unusable. */
  | 'CONFIG'
  /** No answer: connection refused, reset, timed out, or a certificate that does not verify. */
  | 'UNREACHABLE'
  /** 401. */
  | 'UNAUTHENTICATED'
  /** 403. */
  | 'FORBIDDEN'
  /** 404: the object, or the kind itself. */
  | 'NOT_FOUND'
  /** 409: somebody else was quicker, or owns the field. */
  | 'CONFLICT'
  /** 410: the resource version is too old. */
  | 'GONE'
  /** 422 and 400: the API server does not take the object. */
  | 'INVALID'
  /** 429: come back after `retryAfterMs`. */
  | 'THROTTLED'
  /** Any other refusal, mostly 5xx. */
  | 'SERVER'
  /** An answer that is no valid answer. */
  | 'GARBAGE'
  /** A watch that fell silent for longer than bookmarks come. */
  | 'STALLED';

export class KubeError extends Error {
  readonly code: KubeErrorCode;
  /** What the API server asked for by Retry-After. */
  readonly retryAfterMs: number | undefined;

  constructor(
    code: KubeErrorCode,
    message: string,
    options: ErrorOptions & { readonly retryAfterMs?: number | undefined } = {},
  ) {
    super(message, options.cause === undefined ? {} : { cause: options.cause });
    this.name = 'KubeError';
    this.code = code;
    this.retryAfterMs = options.retryAfterMs;
  }

  /** The refusal of a request; `message` is the API server's own text where it gave one. */
  static ofStatus(
    status: number,
    {
      request,
      message,
      retryAfterMs,
    }: { request: string; message: string; retryAfterMs?: number | undefined },
  ): KubeError {
    const text = `Kubernetes API refused ${request} (${status}): ${message}${adviceFor(status)}`;
    return new KubeError(codeOf(status), text, { retryAfterMs });
  }
}

function codeOf(status: number): KubeErrorCode {
  const codes: Readonly<Record<number, KubeErrorCode>> = {
    400: 'INVALID',
    401: 'UNAUTHENTICATED',
    403: 'FORBIDDEN',
    404: 'NOT_FOUND',
    409: 'CONFLICT',
    410: 'GONE',
    422: 'INVALID',
    429: 'THROTTLED',
  };
  return codes[status] ?? 'SERVER';
}

function adviceFor(status: number): string {
  if (status === 401) return '; are the credentials expired, or of another cluster?';
  if (status === 403) return '; does a role of this user grant it?';
  return '';
}
