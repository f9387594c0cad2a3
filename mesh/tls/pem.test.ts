import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CertificateError } from './certificate-error.ts';
import { decodeOnePem, decodePem, encodePem } from './pem.ts';

const der = fc.uint8Array({ minLength: 1, maxLength: 500 });

describe('decodePem()', () => {
  it('reads what encodePem() writes, in order', () => {
    fc.assert(
      fc.property(fc.array(der, { minLength: 1, maxLength: 5 }), (blocks) => {
        const text = blocks.map((block) => encodePem('CERTIFICATE', block)).join('');
        expect(decodePem('CERTIFICATE', text).map((block) => new Uint8Array(block))).toEqual(blocks);
      }),
    );
  });

  it('takes CRLF, blank lines and comment lines between blocks', () => {
    const text = encodePem('CERTIFICATE', Buffer.from('one')).replaceAll('\n', '\r\n');
    expect(decodePem('CERTIFICATE', `# root\r\n\r\n${text}\r\n# end\r\n${text}`)).toHaveLength(2);
  });

  it.each([
    ['nothing', ''],
    ['another label', encodePem('PRIVATE KEY', Buffer.from('x'))],
    ['a label that ends as another', '-----BEGIN CERTIFICATE-----\neHg=\n-----END PRIVATE KEY-----\n'],
    ['text before a block', `hello\n${encodePem('CERTIFICATE', Buffer.from('x'))}`],
    ['text after a block', `${encodePem('CERTIFICATE', Buffer.from('x'))}hello`],
    ['an unfinished block', '-----BEGIN CERTIFICATE-----\neHg=\n'],
    ['an empty block', '-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n'],
    ['a body that is no base64', '-----BEGIN CERTIFICATE-----\ne=g=\n-----END CERTIFICATE-----\n'],
  ])('refuses %s', (_title, text) => {
    expect(() => decodePem('CERTIFICATE', text)).toThrow(CertificateError);
  });

  it('throws only a CertificateError whatever the text is', () => {
    const piece = fc.oneof(
      fc.string(),
      fc.constantFrom('-----BEGIN CERTIFICATE-----', '-----END CERTIFICATE-----', '\n'),
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 8 }), (pieces) => {
        try {
          expect(decodePem('CERTIFICATE', pieces.join('')).length).toBeGreaterThan(0);
        } catch (error) {
          expect(error).toBeInstanceOf(CertificateError);
        }
      }),
    );
  });
});

it('decodeOnePem() refuses a second block', () => {
  const one = encodePem('CERTIFICATE', Buffer.from('x'));
  expect(decodeOnePem('CERTIFICATE', one).toString()).toBe('x');
  expect(() => decodeOnePem('CERTIFICATE', one + one)).toThrow('exactly one');
});
