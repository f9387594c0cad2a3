// Makes a root: ECDSA P-256, self-signed, ten years. And reads one back, refusing whatever could not sign for the mesh.

import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { decodeOnePem, encodePem } from '../../mesh/tls/pem.ts';
import { x509 } from '../../mesh/tls/x509.ts';
import type { RootRecord } from './ca-state.ts';
import { keyIdentifier, type LeafIssuer } from './leaf-certificate.ts';

/** A root ready to sign. */
export interface Root extends LeafIssuer {
  /** Lower-case hexadecimal of the subject key identifier; names the root in logs and in the rotation's state. */
  readonly id: string;
  readonly certificatePem: string;
  readonly privateKey: KeyObject;
  /** Wall clock in ms. */
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
export function readRoot({ certificatePem, privateKeyPem }: RootRecord): Root {
  const der = decodeOnePem('CERTIFICATE', certificatePem);
  const certificate = new X509Certificate(der);
  const privateKey = createPrivateKey(privateKeyPem);
  if (privateKey.asymmetricKeyDetails?.namedCurve !== 'prime256v1') {
    throw new Error('The root key is not ECDSA P-256');
  }
  if (!certificate.checkPrivateKey(privateKey)) throw new Error('The root key is not the key of the root');
  if (!certificate.ca || !certificate.verify(certificate.publicKey)) {
    throw new Error('The root is not a self-signed CA certificate');
  }
  const parsed = new x509.X509Certificate(der);
  const id = parsed.getExtension(x509.SubjectKeyIdentifierExtension)?.keyId.toLowerCase();
  if (id === undefined) throw new Error('The root has no subject key identifier');
  return {
    id,
    certificatePem: encodePem('CERTIFICATE', der),
    privateKey,
    keyId: Buffer.from(id, 'hex'),
    nameDer: Buffer.from(parsed.subjectName.toArrayBuffer()),
    notAfter: parsed.notAfter.getTime(),
  };
}
