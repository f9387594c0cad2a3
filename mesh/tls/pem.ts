// PEM (RFC 7468), strict: whole blocks of one wanted label, nothing but white space and comment lines around them.
// Does not look into the bytes.

import { CertificateError } from './certificate-error.ts';

export type PemLabel = 'CERTIFICATE' | 'CERTIFICATE REQUEST' | 'PRIVATE KEY';

const block = /-----BEGIN ([A-Z0-9 ]+)-----([A-Za-z0-9+/=\s]*)-----END ([A-Z0-9 ]+)-----/g;

export function encodePem(label: PemLabel, der: Uint8Array): string {
  const base64 = Buffer.from(der.buffer, der.byteOffset, der.byteLength).toString('base64');
  const lines = base64.match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`;
}

/** Every block of `text` in order, at least one. Throws CertificateError `pem-malformed`. */
export function decodePem(label: PemLabel, text: string): Buffer[] {
  const blocks: Buffer[] = [];
  let end = 0;
  for (const match of text.matchAll(block)) {
    const [whole, begin, body = '', closing] = match;
    if (begin !== label || closing !== label) {
      throw new CertificateError('pem-malformed', `Expected a PEM block "${label}", got "${begin}"`);
    }
    refuseJunk(label, text.slice(end, match.index));
    blocks.push(decodeBody(label, body));
    end = match.index + whole.length;
  }
  if (blocks.length === 0) {
    throw new CertificateError('pem-malformed', `Expected a PEM block "${label}", found none`);
  }
  refuseJunk(label, text.slice(end));
  return blocks;
}

/** Like `decodePem`, but exactly one block. */
export function decodeOnePem(label: PemLabel, text: string): Buffer {
  const [der, second] = decodePem(label, text);
  if (der === undefined || second !== undefined) {
    throw new CertificateError('pem-malformed', `Expected exactly one PEM block "${label}", got several`);
  }
  return der;
}

function decodeBody(label: PemLabel, body: string): Buffer {
  const base64 = body.replaceAll(/\s/g, '');
  // Buffer.from skips what it does not understand; only canonical base64 comes back as it went in.
  const der = Buffer.from(base64, 'base64');
  if (der.length === 0 || der.toString('base64') !== base64) {
    throw new CertificateError('pem-malformed', `PEM block "${label}" is not base64`);
  }
  return der;
}

/** Lines starting with # are what distributors of root bundles put between blocks. */
function refuseJunk(label: PemLabel, between: string): void {
  for (const line of between.split('\n')) {
    const trimmed = line.trim();
    if (trimmed !== '' && !trimmed.startsWith('#')) {
      throw new CertificateError('pem-malformed', `Text outside of the PEM block "${label}"`);
    }
  }
}
