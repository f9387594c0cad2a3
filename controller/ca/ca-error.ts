// What the certificate authority can refuse. The code is also the metric label and what a caller is told.

export type CaErrorCode =
  /** The state file cannot be used as it is; the CA does not start. */
  | 'state-corrupt'
  /** Refused file, or a disk that does not take it. */
  | 'state-file'
  /** A CA that was given can not sign for the mesh. */
  | 'issuer-unusable'
  /** Another replica has written meanwhile. */
  | 'state-conflict'
  | 'csr-too-large'
  | 'csr-malformed'
  | 'csr-signature-invalid'
  | 'csr-key-unsupported'
  | 'csr-key-weak'
  | 'csr-identity-mismatch'
  | 'identity-invalid'
  | 'root-expired'
  /** The rotation is not at the step that this one follows. */
  | 'rotation-step'
  /** Certificates are still in use that the step would break. */
  | 'rotation-too-early';

export class CaError extends Error {
  readonly code: CaErrorCode;

  constructor(code: CaErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'CaError';
    this.code = code;
  }
}
