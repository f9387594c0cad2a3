// Reading X.509 certificates: who they are for and how long. Says nothing about trust; that is for the TLS engine
// and, for a signer's reply, for signer-reply.ts.

import { parseSpiffeId, type SpiffeId } from '../model/spiffe-id.ts';
import { CertificateError } from './certificate-error.ts';
import { decodeOnePem, decodePem, encodePem } from './pem.ts';
import { x509 } from './x509.ts';

export interface Certificate {
  /** Every URI SAN that is a SPIFFE ID, in order; others are left out (WIRE 1.2). */
  readonly identities: readonly SpiffeId[];
  /** Every URI SAN as it stands, in order. */
  readonly uris: readonly string[];
  /** Wall clock in ms. */
  readonly notBefore: number;
  /** Wall clock in ms. */
  readonly notAfter: number;
  /** Lower-case hexadecimal without leading zeros. */
  readonly serial: string;
  /** Basic constraints say CA. */
  readonly isCa: boolean;
  /** DER. */
  readonly raw: Buffer;
}

/** Far above any real certificate; keeps a hostile one from costing time. */
const maxCertificateBytes = 64 * 1024;

/** Reads one certificate, PEM or DER. Throws CertificateError `pem-malformed` or `certificate-malformed`. */
export function parseCertificate(source: string | Uint8Array): Certificate {
  const raw = typeof source === 'string' ? decodeOnePem('CERTIFICATE', source) : Buffer.from(source);
  if (raw.length > maxCertificateBytes) {
    throw new CertificateError(
      'certificate-malformed',
      `Certificate of ${raw.length} bytes is larger than ${maxCertificateBytes}`,
    );
  }
  try {
    return read(raw);
  } catch (error) {
    throw new CertificateError('certificate-malformed', 'Reading an X.509 certificate failed', {
      cause: error,
    });
  }
}

/** Every certificate of concatenated PEM blocks, at least one. */
export function parseCertificates(pem: string): Certificate[] {
  return decodePem('CERTIFICATE', pem).map((der) => parseCertificate(der));
}

export function certificatePem(certificate: Certificate): string {
  return encodePem('CERTIFICATE', certificate.raw);
}

function read(raw: Buffer): Certificate {
  const certificate = new x509.X509Certificate(raw);
  const uris = (certificate.getExtension(x509.SubjectAlternativeNameExtension)?.names.items ?? [])
    .filter((name) => name.type === 'url')
    .map((name) => name.value);
  return {
    identities: uris.filter((uri): uri is SpiffeId => parseSpiffeId(uri) !== undefined),
    uris,
    notBefore: certificate.notBefore.getTime(),
    notAfter: certificate.notAfter.getTime(),
    serial: certificate.serialNumber.toLowerCase().replace(/^0+(?=.)/, ''),
    isCa: certificate.getExtension(x509.BasicConstraintsExtension)?.ca === true,
    raw,
  };
}
