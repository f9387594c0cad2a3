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
  /** ECDSA P-256. */
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
const ecdsaWithSha256 = sequence(objectIdentifier('1.2.840.10045.4.3.2'));
const emptyName = sequence();
const critical = booleanTrue();
const notCa = sequence(oid.basicConstraints, critical, octetString(sequence()));
/** digitalSignature is bit 0. */
const digitalSignature = sequence(oid.keyUsage, critical, octetString(bitString(Buffer.of(0x80), 7)));

/** Signs in the thread pool, so that a storm of requests does not hold up the main loop. */
export async function signLeaf(issuer: LeafIssuer, profile: LeafProfile): Promise<LeafCertificate> {
  const serial = randomSerial();
  const tbs = sequence(
    version3,
    unsignedInteger(serial),
    ecdsaWithSha256,
    issuer.nameDer,
    sequence(time(profile.notBefore), time(profile.notAfter)),
    emptyName,
    profile.publicKeyDer,
    contextConstructed(3, extensions(issuer, profile)),
  );
  const signature = await ecdsaSign(tbs, issuer.privateKey);
  return { der: sequence(tbs, ecdsaWithSha256, bitString(signature)), serial: serial.toString('hex') };
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

function ecdsaSign(data: Buffer, key: KeyObject): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    sign('sha256', data, { key, dsaEncoding: 'der' }, (error, signature) =>
      error === null ? resolve(signature) : reject(error),
    );
  });
}
