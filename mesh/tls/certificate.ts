// Reading X.509 certificates (RFC 5280): who they are for and how long. Says nothing about trust; that is for the TLS
// engine and, for a signer's reply, for signer-reply.ts. Invariant: everything is read from the very bytes given, and
// OpenSSL takes the same bytes for a certificate.

import { X509Certificate } from 'node:crypto';
import { parseSpiffeId, type SpiffeId } from '../model/spiffe-id.ts';
import { CertificateError } from './certificate-error.ts';
import {
  type DerElement,
  derTag,
  expectTag,
  readElements,
  readInside,
  readOnly,
  readTime,
} from './der-reader.ts';
import { objectIdentifier } from './der.ts';
import { decodeOnePem, decodePem, encodePem } from './pem.ts';

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

/** Context-specific tags of TBSCertificate and GeneralName. */
const versionTag = 0xa0;
const extensionsTag = 0xa3;
const uriTag = 0x86;
const subjectAltName = objectIdentifier('2.5.29.17');
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
  const certificate = new X509Certificate(raw);
  // It looks for PEM inside of the bytes first: a key may be chosen so that another certificate is found in it.
  if (!certificate.raw.equals(raw)) throw new RangeError('more or other bytes than one certificate');
  const [tbs] = readInside(readOnly(raw, derTag.sequence), derTag.sequence);
  const fields = readInside(tbs, derTag.sequence);
  const [serial, , , validity] = fields[0]?.tag === versionTag ? fields.slice(1) : fields;
  const [notBefore, notAfter] = readInside(validity, derTag.sequence);
  const uris = readUris(fields.at(-1));
  return {
    identities: uris.filter((uri): uri is SpiffeId => parseSpiffeId(uri) !== undefined),
    uris,
    notBefore: readTime(notBefore),
    notAfter: readTime(notAfter),
    serial: expectTag(serial, derTag.integer)
      .content.toString('hex')
      .replace(/^0+(?=.)/, ''),
    isCa: certificate.ca,
    raw,
  };
}

/** @param last field of the certificate: its extensions, or something else if it has none. */
function readUris(last: DerElement | undefined): string[] {
  if (last?.tag !== extensionsTag) return [];
  const extensions = readInside(readOnly(last.content, derTag.sequence), derTag.sequence);
  const values = extensions
    .map((extension) => readInside(extension, derTag.sequence))
    .filter(([id]) => id?.whole.equals(subjectAltName))
    .map((parts) => expectTag(parts.at(-1), derTag.octetString).content);
  const [value] = values;
  if (values.length > 1) throw new RangeError('two SAN extensions');
  return value === undefined ? [] : uriNames(readElements(readOnly(value, derTag.sequence).content));
}

function uriNames(names: readonly DerElement[]): string[] {
  return names.filter(({ tag }) => tag === uriTag).map(({ content }) => content.toString('latin1'));
}
