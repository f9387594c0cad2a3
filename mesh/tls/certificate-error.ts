// What can go wrong when a workload gets its certificate. The code is also the metric label and the state shown in
// the config dump; the message is for the operator.

export type CertificateErrorCode =
  /** Text that is no PEM, or not of the wanted kind. */
  | 'pem-malformed'
  /** DER that is no X.509 certificate. */
  | 'certificate-malformed'
  /** The signer's reply lacks the leaf or the roots, or its entries are not what they must be. */
  | 'reply-malformed'
  /** The leaf is for another identity or another key than the one that was asked for. */
  | 'reply-mismatch'
  /** The leaf does not lead to any root of the reply. */
  | 'reply-untrusted'
  /** The leaf is expired or not valid yet by this machine's clock. */
  | 'reply-out-of-date'
  /** The signer said no; asking again will not help until something changes. */
  | 'signer-refused'
  /** The signer could not be reached or did not answer in time. */
  | 'signer-unavailable';

export class CertificateError extends Error {
  readonly code: CertificateErrorCode;

  constructor(code: CertificateErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'CertificateError';
    this.code = code;
  }
}
