// Whoever turns a certificate request into a certificate: the controller by gRPC, or one in the same process.

import type { SpiffeId } from '../model/spiffe-id.ts';

export interface SignOptions {
  /** Asked life in seconds; the signer may give less. */
  readonly validitySeconds: number;
  /** The identity to sign for when it is not the caller's own. */
  readonly impersonate?: SpiffeId;
  /** Gives up waiting. */
  readonly signal?: AbortSignal;
}

export interface CertificateSigner {
  /**
   * Returns PEM entries: leaf, intermediates one each, and last the roots concatenated (WIRE 4). The reply is not
   * checked. Throws CertificateError `signer-refused` or `signer-unavailable`.
   */
  sign(csrPem: string, options: SignOptions): Promise<readonly string[]>;
}
