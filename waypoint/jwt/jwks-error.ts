// Why the keys of an issuer could not be had. The code is also the metric label; the message is for the operator.

export type JwksErrorCode =
  /** No http or https URL, or one that holds credentials. */
  | 'url-refused'
  /** No connection, no answer in time, or a redirect. */
  | 'unreachable'
  /** An answer other than 200. */
  | 'status'
  /** More octets or more keys than are read. */
  | 'too-large'
  /** No JWK set. */
  | 'malformed';

export class JwksError extends Error {
  readonly code: JwksErrorCode;

  constructor(code: JwksErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'JwksError';
    this.code = code;
  }
}
