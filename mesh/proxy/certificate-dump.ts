// Certificates as the config dump of the Istio ztunnel shows them (WIRE 7). Never holds a private key.

import { X509Certificate } from 'node:crypto';
import type { CertificateState } from '../tls/certificate-manager.ts';

export function certificateDump(certificate: CertificateState): object {
  const { identity, state, error, chainPem, rootsPem } = certificate;
  return {
    identity,
    state: state === 'available' ? 'Available' : state === 'failed' ? 'Unavailable' : 'Initializing',
    ...(error === undefined ? {} : { error }),
    certChain: chainPem === undefined ? [] : blocks(chainPem).map(describe),
    rootCerts: rootsPem === undefined ? [] : blocks(rootsPem).map(describe),
  };
}

function blocks(pem: string): string[] {
  return pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----\n?/g) ?? [];
}

function describe(pem: string): object {
  const { serialNumber, validFromDate, validToDate } = new X509Certificate(pem);
  return {
    pem: Buffer.from(pem).toString('base64'),
    serialNumber: BigInt(`0x${serialNumber}`).toString(),
    validFrom: validFromDate.toISOString(),
    expirationTime: validToDate.toISOString(),
  };
}
