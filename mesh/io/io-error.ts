// The one error class of the I/O layer. The code is closed: it is also the metric label and the log flag.

export type IoErrorCode =
  | 'connect-failed'
  | 'connect-timeout'
  | 'connection-reset'
  | 'bind-failed'
  | 'out-of-descriptors'
  | 'tls-handshake-failed'
  | 'tls-handshake-timeout'
  | 'tls-identity-rejected'
  | 'tls-credentials-invalid'
  | 'tls-failed'
  | 'closed';

export class IoError extends Error {
  readonly code: IoErrorCode;
  /** Linux errno, 0 if the failure was not a system call's. */
  readonly errno: number;

  constructor(
    code: IoErrorCode,
    message: string,
    options?: { readonly errno?: number; readonly cause?: unknown },
  ) {
    super(message, options?.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'IoError';
    this.code = code;
    this.errno = options?.errno ?? 0;
  }
}
