// Makes a root: ECDSA P-256, self-signed, ten years. And reads back what signs, a root or a given intermediate, refusing
// whatever could not sign for the mesh.

import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { decodeOnePem, decodePem, encodePem } from '../../mesh/tls/pem.ts';
import { x509 } from '../../mesh/tls/x509.ts';
import { anchorsOf, type RootRecord } from './ca-state.ts';
import { canSign, keyIdentifier, type LeafIssuer } from './leaf-certificate.ts';

/** A root, or a given intermediate, ready to sign. */
export interface Root extends LeafIssuer {
  /** Lower-case hexadecimal of the subject key identifier; names it in logs and in the rotation's state. */
  readonly id: string;
  /** What nodes trust, PEM, one or several. */
  readonly anchorsPem: string;
  /** One certificate each, PEM: the intermediate and what leads to the root. Empty for a root. */
  readonly chain: readonly string[];
  readonly privateKey: KeyObject;
  /** Wall clock in ms: the earliest end of what it needs to be believed. */
  readonly notAfter: number;
}

const lifeMs = 10 * 365 * 86_400_000;
/** For nodes whose clock is behind. */
const backdateMs = 3_600_000;

/** @param now wall clock in ms */
export async function createRoot(now: number): Promise<RootRecord> {
  const keys = await crypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, true, [
    'sign',
    'verify',
  ]);
  const publicKeyDer = Buffer.from(await crypto.subtle.exportKey('spki', keys.publicKey));
  const keyId = keyIdentifier(publicKeyDer).toString('hex');
  const notBefore = Math.floor(now / 1000) * 1000 - backdateMs;
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    // Names of two roots must differ, or a verifier may try the wrong one first.
    name: `O=Weft, CN=Weft root CA ${keyId.slice(0, 8)}`,
    keys,
    signingAlgorithm: { name: 'ECDSA', hash: 'SHA-256' },
    notBefore: new Date(notBefore),
    notAfter: new Date(notBefore + lifeMs),
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      new x509.SubjectKeyIdentifierExtension(keyId),
    ],
  });
  const pkcs8 = await crypto.subtle.exportKey('pkcs8', keys.privateKey);
  return {
    certificatePem: encodePem('CERTIFICATE', new Uint8Array(certificate.rawData)),
    privateKeyPem: encodePem('PRIVATE KEY', new Uint8Array(pkcs8)),
    issuedUntil: 0,
  };
}

/** Throws an Error that says what is wrong with the record. */
export function readRoot(record: RootRecord): Root {
  const der = decodeOnePem('CERTIFICATE', record.certificatePem);
  const certificate = new X509Certificate(der);
  const privateKey = createPrivateKey(record.privateKeyPem);
  if (!canSign(privateKey))
    throw new Error('The CA key is neither ECDSA P-256 or P-384 nor RSA of 2048 bits');
  if (!certificate.checkPrivateKey(privateKey))
    throw new Error('The CA key is not the key of the CA certificate');
  const { chain, anchors, notAfter } = readPath(certificate, record);
  const parsed = new x509.X509Certificate(der);
  const id = parsed.getExtension(x509.SubjectKeyIdentifierExtension)?.keyId.toLowerCase();
  if (id === undefined) throw new Error('The CA certificate has no subject key identifier');
  return {
    id,
    anchorsPem: anchors.map(toPem).join(''),
    chain: chain.map(toPem),
    privateKey,
    keyId: Buffer.from(id, 'hex'),
    nameDer: Buffer.from(parsed.subjectName.toArrayBuffer()),
    notAfter,
  };
}

/** From the certificate that signs up to an anchor: each one a CA, and signed by the next. */
function readPath(
  certificate: X509Certificate,
  record: RootRecord,
): { chain: X509Certificate[]; anchors: X509Certificate[]; notAfter: number } {
  const anchors = readCertificates(anchorsOf(record));
  if (anchors.some((anchor) => !isIssuedBy(anchor, anchor))) throw new Error('The root is not self-signed');
  const path = [certificate, ...(record.chainPem ? readCertificates(record.chainPem) : [])];
  // Distributors put the root at the end of the chain too; it needs no sending.
  const chain = path.filter(
    (link) => !anchors.some(({ fingerprint256 }) => fingerprint256 === link.fingerprint256),
  );
  for (const [index, link] of path.entries()) {
    if (!link.ca) throw new Error(`Certificate "${link.subject}" is not a CA certificate`);
    const next = path[index + 1];
    if (next !== undefined && !isIssuedBy(link, next))
      throw new Error(`Certificate "${link.subject}" was not signed by the next one of the chain`);
  }
  const last = path.at(-1) as X509Certificate;
  const anchor = anchors.find((candidate) => isIssuedBy(last, candidate));
  if (anchor === undefined) throw new Error('The CA certificate does not lead to the root');
  const ends = [...path, anchor].map(({ validTo }) => Date.parse(validTo));
  return { chain, anchors, notAfter: Math.min(...ends) };
}

function readCertificates(pem: string): X509Certificate[] {
  return decodePem('CERTIFICATE', pem).map((der) => new X509Certificate(der));
}

function isIssuedBy(certificate: X509Certificate, issuer: X509Certificate): boolean {
  return issuer.ca && certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey);
}

function toPem({ raw }: X509Certificate): string {
  return encodePem('CERTIFICATE', raw);
}
