// One certificate, once: makes a key and a request, has it signed, checks the reply. Knows neither renewal nor retry
// (certificate-manager.ts) nor how the signer is reached (grpc-signer.ts).

import { formatSpiffeId, type Identity } from '../model/spiffe-id.ts';
import type { Clock } from '../runtime/clock.ts';
import type { CertificateSigner } from './certificate-signer.ts';
import { createCsr } from './csr.ts';
import { checkReply } from './signer-reply.ts';
import type { WorkloadCertificate } from './workload-certificate.ts';

export interface FetchOptions {
  readonly signer: CertificateSigner;
  readonly clock: Clock;
  /** Asked life in seconds. */
  readonly ttlSeconds: number;
  readonly signal?: AbortSignal;
}

/** Throws CertificateError. */
export async function fetchCertificate(
  identity: Identity,
  { signer, clock, ttlSeconds, signal }: FetchOptions,
): Promise<WorkloadCertificate> {
  const spiffeId = formatSpiffeId(identity);
  const { privateKeyPem, csrPem, publicKeyDer } = await createCsr(identity);
  const entries = await signer.sign(csrPem, {
    validitySeconds: ttlSeconds,
    impersonate: spiffeId,
    ...(signal && { signal }),
  });
  const { leaf, chainPem, rootsPem } = checkReply(entries, { spiffeId, publicKeyDer, now: clock.now() });
  const { notBefore, notAfter, serial } = leaf;
  return { identity, spiffeId, privateKeyPem, chainPem, rootsPem, notBefore, notAfter, serial };
}
