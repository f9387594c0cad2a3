// Writes and signs an end-entity certificate (RFC 5280): empty subject, critical SAN, never a CA. The profile is fixed
// here; nothing of a request but its public key gets into a certificate.

import { createHash, type KeyObject, randomBytes, sign } from 'node:crypto';
import {
  bitString,
  booleanTrue,
  contextConstructed,
  contextPrimitive,
  objectIdentifier,
  octetString,
  sequence,
  time,
  unsignedInteger,
} from '../../mesh/tls/der.ts';

export interface LeafIssuer {
  /** Ready-made DER of the issuer's subject Name. */
  readonly nameDer: Buffer;
  /** The issuer's subject key identifier. */
  readonly keyId: Buffer;
  /** ECDSA P-256 or P-384, or RSA of 2048 bits and more: see `canSign`. */
  readonly privateKey: KeyObject;
}

export type SubjectName =
  | { readonly kind: 'uri' | 'dns'; readonly value: string }
  /** 4 or 16 bytes. */
  | { readonly kind: 'ip'; readonly value: Uint8Array };

export interface LeafProfile {
  /** SubjectPublicKeyInfo. */
  readonly publicKeyDer: Uint8Array;
  /** At least one; ASCII. */
  readonly names: readonly SubjectName[];
  readonly usages: readonly ('server' | 'client')[];
  /** Wall clock in ms, whole seconds. */
  readonly notBefore: number;
  /** Wall clock in ms, whole seconds. */
  readonly notAfter: number;
}

export interface LeafCertificate {
  readonly der: Buffer;
  /** 32 lower-case hexadecimal digits. */
  readonly serial: string;
}

const oid = {
  subjectKeyIdentifier: objectIdentifier('2.5.29.14'),
  keyUsage: objectIdentifier('2.5.29.15'),
  subjectAltName: objectIdentifier('2.5.29.17'),
  basicConstraints: objectIdentifier('2.5.29.19'),
  authorityKeyIdentifier: objectIdentifier('2.5.29.35'),
  extendedKeyUsage: objectIdentifier('2.5.29.37'),
} as const;
const usageOid = {
  server: objectIdentifier('1.3.6.1.5.5.7.3.1'),
  client: objectIdentifier('1.3.6.1.5.5.7.3.2'),
} as const;
const generalNameTag = { dns: 2, uri: 6, ip: 7 } as const;

const version3 = contextConstructed(0, unsignedInteger(Buffer.of(2)));
/** How each kind of issuer key signs (RFC 5758 section 3.2, RFC 4055 section 5). */
const algorithms = {
  prime256v1: { hash: 'sha256', der: sequence(objectIdentifier('1.2.840.10045.4.3.2')) },
  secp384r1: { hash: 'sha384', der: sequence(objectIdentifier('1.2.840.10045.4.3.3')) },
  rsa: { hash: 'sha256', der: sequence(objectIdentifier('1.2.840.113549.1.1.11'), Buffer.of(0x05, 0x00)) },
} as const;
const minRsaBits = 2048;
const emptyName = sequence();
const critical = booleanTrue();
const notCa = sequence(oid.basicConstraints, critical, octetString(sequence()));
/** digitalSignature is bit 0. */
const digitalSignature = sequence(oid.keyUsage, critical, octetString(bitString(Buffer.of(0x80), 7)));

/** Whether certificates can be signed with a key of this kind. */
export function canSign(key: KeyObject): boolean {
  return algorithmOf(key) !== undefined;
}

/** Signs in the thread pool, so that a storm of requests does not hold up the main loop. */
export async function signLeaf(issuer: LeafIssuer, profile: LeafProfile): Promise<LeafCertificate> {
  const algorithm = algorithmOf(issuer.privateKey);
  if (algorithm === undefined) throw new Error('Issuer key is of no kind that can sign');
  const serial = randomSerial();
  const tbs = sequence(
    version3,
    unsignedInteger(serial),
    algorithm.der,
    issuer.nameDer,
    sequence(time(profile.notBefore), time(profile.notAfter)),
    emptyName,
    profile.publicKeyDer,
    contextConstructed(3, extensions(issuer, profile)),
  );
  const signature = await signInPool(algorithm.hash, tbs, issuer.privateKey);
  return { der: sequence(tbs, algorithm.der, bitString(signature)), serial: serial.toString('hex') };
}

/** The first 160 bits of the SHA-256 of the key (RFC 7093 section 2). */
export function keyIdentifier(publicKeyDer: Uint8Array): Buffer {
  return createHash('sha256').update(publicKeyDer).digest().subarray(0, 20);
}

function extensions(issuer: LeafIssuer, { publicKeyDer, names, usages }: LeafProfile): Buffer {
  const alternativeNames = names.map(({ kind, value }) =>
    contextPrimitive(generalNameTag[kind], typeof value === 'string' ? Buffer.from(value, 'latin1') : value),
  );
  return sequence(
    notCa,
    digitalSignature,
    sequence(oid.extendedKeyUsage, octetString(sequence(...usages.map((usage) => usageOid[usage])))),
    sequence(oid.authorityKeyIdentifier, octetString(sequence(contextPrimitive(0, issuer.keyId)))),
    sequence(oid.subjectKeyIdentifier, octetString(octetString(keyIdentifier(publicKeyDer)))),
    sequence(oid.subjectAltName, critical, octetString(sequence(...alternativeNames))),
  );
}

/** 128 bits, of which the first two are fixed to 01: positive, and always 16 bytes long in every tool's output. */
function randomSerial(): Buffer {
  const serial = randomBytes(16);
  serial[0] = ((serial[0] as number) & 0x3f) | 0x40;
  return serial;
}

function algorithmOf(key: KeyObject): (typeof algorithms)[keyof typeof algorithms] | undefined {
  const { namedCurve, modulusLength = 0 } = key.asymmetricKeyDetails ?? {};
  if (key.asymmetricKeyType === 'rsa') return modulusLength >= minRsaBits ? algorithms.rsa : undefined;
  if (namedCurve !== 'prime256v1' && namedCurve !== 'secp384r1') return undefined;
  return algorithms[namedCurve];
}

function signInPool(hash: string, data: Buffer, key: KeyObject): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    sign(hash, data, { key, dsaEncoding: 'der' }, (error, signature) =>
      error === null ? resolve(signature) : reject(error),
    );
  });
}
