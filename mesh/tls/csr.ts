// Certificate requests (PKCS#10, RFC 2986) as Istio's certificate service expects them (WIRE 4): a fresh ECDSA P-256
// key for each request, SHA-256, an empty subject and one critical SAN extension with one URI. The key never leaves
// this process. Key and signature are made in the thread pool.

import { createPrivateKey, generateKeyPair, type KeyObject, sign } from 'node:crypto';
import { promisify } from 'node:util';
import { formatSpiffeId, type Identity } from '../model/spiffe-id.ts';
import {
  bitString,
  booleanTrue,
  contextConstructed,
  contextPrimitive,
  objectIdentifier,
  octetString,
  sequence,
  setOfOne,
  unsignedInteger,
} from './der.ts';
import { encodePem } from './pem.ts';

export interface CertificateRequest {
  /** PKCS#8. */
  readonly privateKeyPem: string;
  /** PKCS#10. */
  readonly csrPem: string;
  /** SubjectPublicKeyInfo; the issued certificate must carry the same. */
  readonly publicKeyDer: Buffer;
}

const oid = {
  ecdsaWithSha256: objectIdentifier('1.2.840.10045.4.3.2'),
  extensionRequest: objectIdentifier('1.2.840.113549.1.9.14'),
  subjectAltName: objectIdentifier('2.5.29.17'),
} as const;
const version1 = unsignedInteger(Buffer.of(0));
const emptyName = sequence();
const uriName = 6;
const makeKeyPair = promisify(generateKeyPair);

export async function createCsr(identity: Identity): Promise<CertificateRequest> {
  const { privateKey: privateKeyPem, publicKey: publicKeyDer } = await makeKeyPair('ec', {
    namedCurve: 'prime256v1',
    publicKeyEncoding: { type: 'spki', format: 'der' },
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  });
  const uri = Buffer.from(formatSpiffeId(identity), 'latin1');
  const names = octetString(sequence(contextPrimitive(uriName, uri)));
  const extensions = sequence(sequence(oid.subjectAltName, booleanTrue(), names));
  const attributes = contextConstructed(0, sequence(oid.extensionRequest, setOfOne(extensions)));
  const info = sequence(version1, emptyName, publicKeyDer, attributes);
  const signature = await ecdsaSign(info, createPrivateKey(privateKeyPem));
  const request = sequence(info, sequence(oid.ecdsaWithSha256), bitString(signature));
  return { privateKeyPem, csrPem: encodePem('CERTIFICATE REQUEST', request), publicKeyDer };
}

function ecdsaSign(data: Buffer, key: KeyObject): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    sign('sha256', data, { key, dsaEncoding: 'der' }, (error, signature) =>
      error === null ? resolve(signature) : reject(error),
    );
  });
}
