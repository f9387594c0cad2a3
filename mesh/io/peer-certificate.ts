// What a finished handshake says about the peer: the SPIFFE identities of its certificate. The chain was verified by
// OpenSSL before; here only the URI names of the leaf are read.

import { X509Certificate } from 'node:crypto';
import { type Identity, parseSpiffeId } from '../model/spiffe-id.ts';
import * as openssl from './openssl.ts';
import { Slab } from './slab.ts';

const maxCertificateBytes = 64 * 1024;
const der = new Slab(maxCertificateBytes);
const cursor = new Slab(8);

/** Every SPIFFE identity of the peer's leaf, in order; empty when it has none. */
export function peerIdentities(connection: number): Identity[] {
  const certificate = openssl.SSL_get1_peer_certificate(connection);
  if (certificate === 0) return [];
  try {
    const length = openssl.i2d_X509(certificate, 0);
    if (length <= 0 || length > maxCertificateBytes) return [];
    // i2d writes at *out and moves the pointer on.
    cursor.bytes.writeBigUInt64LE(BigInt(der.address), 0);
    openssl.i2d_X509(certificate, cursor.address);
    return certificateIdentities(der.bytes.subarray(0, length));
  } finally {
    openssl.X509_free(certificate);
  }
}

/**
 * X509Certificate looks for PEM in the bytes first. A key may be chosen so that its certificate holds another one in
 * that form, which nobody has verified: then what was read is not what OpenSSL saw, and there is no identity.
 */
export function certificateIdentities(bytes: Buffer): Identity[] {
  const certificate = new X509Certificate(bytes);
  return certificate.raw.equals(bytes) ? identitiesOf(certificate.subjectAltName ?? '') : [];
}

/**
 * @param subjectAltName as node:crypto prints it, where a name with a separator in it is quoted. No SPIFFE ID needs
 * that, so a certificate with such a name is trusted with no identity at all.
 */
export function identitiesOf(subjectAltName: string): Identity[] {
  const found: Identity[] = [];
  if (subjectAltName.includes('"')) return found;
  for (const entry of subjectAltName.split(', ')) {
    if (!entry.startsWith('URI:')) continue;
    const identity = parseSpiffeId(entry.slice(4));
    if (identity !== undefined) found.push(identity);
  }
  return found;
}
