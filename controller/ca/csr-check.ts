// Reads a certificate request and decides whether it may be signed: the requester holds the key, the key is strong
// enough, and the request asks for exactly the identity that the caller was granted. Nothing else of it is used.

import { createPublicKey, type KeyObject, verify } from 'node:crypto';
import { decodeOnePem } from '../../mesh/tls/pem.ts';
import { x509 } from '../../mesh/tls/x509.ts';
import type { SpiffeId } from '../../mesh/model/spiffe-id.ts';
import { CaError } from './ca-error.ts';

/** A request is about 500 bytes, with an RSA-8192 key about 3 KB. */
const maxCsrBytes = 64 * 1024;
/** More bits only cost the verifier time. */
const rsaBits = { min: 2048, max: 8192 } as const;
const hashes = new Map([
  ['SHA-256', 'sha256'],
  ['SHA-384', 'sha384'],
  ['SHA-512', 'sha512'],
]);
/** The signature that belongs to each type of key. */
const signatureNames = new Map([
  ['ec', 'ECDSA'],
  ['ed25519', 'Ed25519'],
  ['rsa', 'RSASSA-PKCS1-v1_5'],
]);
/** SubjectPublicKeyInfo of a P-256 key in named-curve, uncompressed form up to the 64 bytes of the point. */
const p256Prefix = Buffer.from('3059301306072a8648ce3d020106082a8648ce3d03010703420004', 'hex');

/** Returns the SubjectPublicKeyInfo to certify. Throws CaError `csr-*`. */
export async function checkCsr(csrPem: string, granted: SpiffeId): Promise<Buffer> {
  if (csrPem.length > maxCsrBytes) {
    throw new CaError(
      'csr-too-large',
      `Certificate request of ${csrPem.length} characters, at most ${maxCsrBytes}`,
    );
  }
  const request = readRequest(csrPem);
  const key = readKey(request);
  const publicKeyDer = checkKey(key);
  await checkSignature(request, key);
  checkNames(request, granted);
  return publicKeyDer;
}

function readRequest(csrPem: string): x509.Pkcs10CertificateRequest {
  try {
    return new x509.Pkcs10CertificateRequest(decodeOnePem('CERTIFICATE REQUEST', csrPem));
  } catch (error) {
    throw new CaError('csr-malformed', 'Certificate request is not PKCS#10 in PEM', { cause: error });
  }
}

function readKey(request: x509.Pkcs10CertificateRequest): KeyObject {
  try {
    const key = Buffer.from(request.publicKey.rawData);
    return createPublicKey({ key, format: 'der', type: 'spki' });
  } catch (error) {
    throw new CaError('csr-key-unsupported', 'Public key of the certificate request is not readable', {
      cause: error,
    });
  }
}

/** The key as OpenSSL understands it, written anew: no odd encoding gets into a certificate. */
function checkKey(key: KeyObject): Buffer {
  const der = key.export({ type: 'spki', format: 'der' });
  const details = key.asymmetricKeyDetails ?? {};
  switch (key.asymmetricKeyType) {
    case 'ec':
      if (details.namedCurve === 'prime256v1' && isP256(der)) return der;
      throw unsupported(`an EC key on the curve "${details.namedCurve}"`);
    case 'ed25519':
      return der;
    case 'rsa': {
      const bits = details.modulusLength ?? 0;
      if (bits < rsaBits.min || bits > rsaBits.max) {
        const range = `${rsaBits.min} to ${rsaBits.max}`;
        throw new CaError(
          'csr-key-weak',
          `Certificate request has an RSA key of ${bits} bits, want ${range}`,
        );
      }
      return der;
    }
    default:
      throw unsupported(`a key of the type "${key.asymmetricKeyType}"`);
  }
}

function isP256(der: Buffer): boolean {
  return der.length === p256Prefix.length + 64 && der.subarray(0, p256Prefix.length).equals(p256Prefix);
}

async function checkSignature(request: x509.Pkcs10CertificateRequest, key: KeyObject): Promise<void> {
  let valid = false;
  let cause: unknown;
  try {
    // Unlike what the declared type says, Ed25519 names no hash: it has one of its own.
    const algorithm = request.signatureAlgorithm as {
      readonly name?: string;
      readonly hash?: { readonly name: string };
    };
    const signed = signedPart(Buffer.from(request.rawData));
    const hash = hashes.get(algorithm.hash?.name ?? '');
    const strong = algorithm.name === 'Ed25519' || hash !== undefined;
    valid =
      strong &&
      signatureNames.get(key.asymmetricKeyType ?? '') === algorithm.name &&
      (await verifySignature(hash, signed, { key, signature: Buffer.from(request.signature) }));
  } catch (error) {
    cause = error;
  }
  if (!valid) {
    throw new CaError(
      'csr-signature-invalid',
      'Signature of the certificate request is wrong or not with SHA-256 or better: the caller has not shown that it holds the key',
      { cause },
    );
  }
}

/** CertificationRequestInfo as it was signed: the first element of the outer SEQUENCE (RFC 2986 section 4.2). */
function signedPart(der: Buffer): Buffer {
  const outer = readHeader(der, 0);
  const inner = readHeader(der, outer.start);
  if (outer.end !== der.length || inner.end > outer.end) throw new Error('not one DER element');
  return der.subarray(outer.start, inner.end);
}

/** Where the content of a SEQUENCE begins and ends; only the definite lengths of DER up to 64 KB. */
function readHeader(der: Buffer, at: number): { readonly start: number; readonly end: number } {
  const first = der.readUInt8(at + 1);
  const lengthBytes = first < 0x80 ? 0 : first - 0x80;
  if (der.readUInt8(at) !== 0x30 || lengthBytes > 3 || first === 0x80) throw new Error('not a SEQUENCE');
  const start = at + 2 + lengthBytes;
  return { start, end: start + (lengthBytes === 0 ? first : der.readUIntBE(at + 2, lengthBytes)) };
}

/** In the thread pool. `hash` is undefined for Ed25519. */
function verifySignature(
  hash: string | undefined,
  data: Buffer,
  { key, signature }: { readonly key: KeyObject; readonly signature: Buffer },
): Promise<boolean> {
  return new Promise((resolve, reject) => {
    verify(hash, data, key, signature, (error, valid) => (error === null ? resolve(valid) : reject(error)));
  });
}

function checkNames(request: x509.Pkcs10CertificateRequest, granted: SpiffeId): void {
  const names = requestedNames(request);
  const [name] = names;
  if (names.length === 1 && name?.type === 'url' && name.value === granted) return;
  const asked =
    names.length === 0
      ? 'no name'
      : names
          .slice(0, 4)
          .map(({ value }) => `"${value}"`)
          .join(', ');
  throw new CaError(
    'csr-identity-mismatch',
    `Certificate request asks for ${asked.slice(0, 512)}, but its sender may have "${granted}" only`,
  );
}

function requestedNames(request: x509.Pkcs10CertificateRequest): readonly x509.GeneralName[] {
  try {
    return request.extensions
      .filter((extension) => extension instanceof x509.SubjectAlternativeNameExtension)
      .flatMap((extension) => extension.names.items);
  } catch (error) {
    throw new CaError('csr-malformed', 'Extensions of the certificate request are not readable', {
      cause: error,
    });
  }
}

function unsupported(what: string): CaError {
  return new CaError(
    'csr-key-unsupported',
    `Certificate request has ${what}; want ECDSA P-256, Ed25519 or RSA of at least ${rsaBits.min} bits`,
  );
}
