// Certificate requests as Istio's certificate service expects them (WIRE 4): a fresh ECDSA P-256 key for each request,
// SHA-256, an empty subject and one critical SAN extension with one URI. The key never leaves this process.

import { formatSpiffeId, type Identity } from '../model/spiffe-id.ts';
import { encodePem } from './pem.ts';
import { x509 } from './x509.ts';

export interface CertificateRequest {
  /** PKCS#8. */
  readonly privateKeyPem: string;
  /** PKCS#10. */
  readonly csrPem: string;
  /** SubjectPublicKeyInfo; the issued certificate must carry the same. */
  readonly publicKeyDer: Buffer;
}

const keyAlgorithm = { name: 'ECDSA', namedCurve: 'P-256' } as const;
const signingAlgorithm = { name: 'ECDSA', hash: 'SHA-256' } as const;

export async function createCsr(identity: Identity): Promise<CertificateRequest> {
  const keys = await crypto.subtle.generateKey(keyAlgorithm, true, ['sign', 'verify']);
  const san = [{ type: 'url', value: formatSpiffeId(identity) } as const];
  const [request, pkcs8, spki] = await Promise.all([
    x509.Pkcs10CertificateRequestGenerator.create({
      keys,
      signingAlgorithm,
      extensions: [new x509.SubjectAlternativeNameExtension(san, true)],
    }),
    crypto.subtle.exportKey('pkcs8', keys.privateKey),
    crypto.subtle.exportKey('spki', keys.publicKey),
  ]);
  return {
    privateKeyPem: encodePem('PRIVATE KEY', new Uint8Array(pkcs8)),
    csrPem: encodePem('CERTIFICATE REQUEST', new Uint8Array(request.rawData)),
    publicKeyDer: Buffer.from(spki),
  };
}
