// A workload's certificate with its key and the roots its peers are checked against: what a TLS context is made of.

import type { Identity, SpiffeId } from '../model/spiffe-id.ts';

/** Plain data, structured-clone safe, so it can be posted to a worker thread as it is. */
export interface WorkloadCertificate {
  readonly identity: Identity;
  readonly spiffeId: SpiffeId;
  /** PKCS#8. */
  readonly privateKeyPem: string;
  /** Leaf, then intermediates: what is presented in TLS. */
  readonly chainPem: string;
  /** One or several roots, concatenated. */
  readonly rootsPem: string;
  /** Wall clock in ms. */
  readonly notBefore: number;
  /** Wall clock in ms. */
  readonly notAfter: number;
  /** Lower-case hexadecimal without leading zeros. */
  readonly serial: string;
}
