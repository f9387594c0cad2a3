// Checks a signer's reply before a workload uses it: leaf first, roots last (WIRE 4), the identity and the key that
// were asked for, valid now, and signed by a root of the same reply. A signer that is wrong is found here, with a
// clear reason, and not later in every handshake.

import { X509Certificate } from 'node:crypto';
import type { SpiffeId } from '../model/spiffe-id.ts';
import { type Certificate, certificatePem, parseCertificate, parseCertificates } from './certificate.ts';
import { CertificateError } from './certificate-error.ts';

export interface ReplyExpectation {
  readonly spiffeId: SpiffeId;
  /** SubjectPublicKeyInfo of the request. */
  readonly publicKeyDer: Buffer;
  /** Wall clock in ms. */
  readonly now: number;
}

export interface SignerReply {
  readonly leaf: Certificate;
  /** Leaf and intermediates. */
  readonly chainPem: string;
  readonly rootsPem: string;
}

const maxEntries = 16;
const maxRoots = 64;
/** How far the signer's clock may be ahead of ours; the CA backdates by about as much. */
const maxClockSkewMs = 60_000;

/** Throws CertificateError `pem-malformed`, `certificate-malformed` or `reply-*`. */
export function checkReply(entries: readonly string[], expected: ReplyExpectation): SignerReply {
  const { chain, roots } = splitChain(entries);
  const leaf = chain[0] as Certificate;
  checkLeaf(leaf, expected);
  checkPath(chain, roots);
  return {
    leaf,
    chainPem: chain.map(certificatePem).join(''),
    rootsPem: roots.map(certificatePem).join(''),
  };
}

/** Splits the entries of a reply: one certificate each, but several roots in the last one. */
export function splitChain(entries: readonly string[]): { chain: Certificate[]; roots: Certificate[] } {
  const rootEntry = entries.at(-1);
  if (rootEntry === undefined || entries.length < 2) {
    throw new CertificateError(
      'reply-malformed',
      `Signer replied with ${entries.length} certificate entries; a leaf and the roots make at least two`,
    );
  }
  if (entries.length > maxEntries) {
    throw new CertificateError('reply-malformed', `Signer replied with more than ${maxEntries} entries`);
  }
  const roots = parseCertificates(rootEntry);
  if (roots.length > maxRoots || !roots.every((root) => root.isCa)) {
    throw new CertificateError(
      'reply-malformed',
      `Last entry of the signer's reply must hold 1 to ${maxRoots} CA certificates`,
    );
  }
  return { chain: entries.slice(0, -1).map((entry) => parseCertificate(entry)), roots };
}

function checkLeaf(leaf: Certificate, { spiffeId, publicKeyDer, now }: ReplyExpectation): void {
  if (leaf.isCa) throw new CertificateError('reply-malformed', 'Signer replied with a CA as the leaf');
  if (leaf.uris[0] !== spiffeId) {
    const got = leaf.uris[0] === undefined ? 'no URI at all' : `"${leaf.uris[0]}"`;
    throw new CertificateError('reply-mismatch', `Asked for a certificate of "${spiffeId}", got ${got}`);
  }
  if (!leafKey(leaf).equals(publicKeyDer)) {
    throw new CertificateError('reply-mismatch', 'Signer replied with a certificate for another key');
  }
  if (leaf.notAfter <= now) {
    throw new CertificateError(
      'reply-out-of-date',
      `Signer replied with a certificate that expired at ${iso(leaf.notAfter)}; compare the clocks of both machines`,
    );
  }
  if (leaf.notBefore > now + maxClockSkewMs) {
    throw new CertificateError(
      'reply-out-of-date',
      `Signer replied with a certificate valid from ${iso(leaf.notBefore)}; compare the clocks of both machines`,
    );
  }
}

/** Each certificate is signed by the next one and the last by a root. Validity of the roots is for the handshake. */
function checkPath(chain: readonly Certificate[], roots: readonly Certificate[]): void {
  const issuers = roots.map((root) => new X509Certificate(root.raw));
  const path = chain.map((certificate) => new X509Certificate(certificate.raw));
  path.forEach((certificate, index) => {
    const next = path[index + 1];
    const candidates = next === undefined ? issuers : [next];
    if (
      !candidates.some((issuer) => certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey))
    ) {
      throw new CertificateError(
        'reply-untrusted',
        next === undefined
          ? "No root of the signer's reply has signed its certificate"
          : `Intermediate ${index + 1} of the signer's reply has not signed the certificate before it`,
      );
    }
  });
}

function leafKey(leaf: Certificate): Buffer {
  try {
    return new X509Certificate(leaf.raw).publicKey.export({ type: 'spki', format: 'der' });
  } catch (error) {
    throw new CertificateError('certificate-malformed', "Reading the leaf's public key failed", {
      cause: error,
    });
  }
}

function iso(ms: number): string {
  return new Date(ms).toISOString();
}
