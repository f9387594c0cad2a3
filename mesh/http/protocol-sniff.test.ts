import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { maxSniffBytes, sniffProtocol } from './protocol-sniff.ts';

const preface = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n';

function sniff(text: string): string {
  return sniffProtocol(Buffer.from(`xx${text}`, 'latin1'), 2, text.length);
}

describe('sniffProtocol()', () => {
  it('knows HTTP/2 by its whole preface', () => {
    for (let length = 0; length < preface.length; length++)
      expect(sniff(preface.slice(0, length))).toBe('need-more');
    expect(sniff(`${preface}more`)).toBe('h2');
  });

  it.each([
    'GET /',
    'OPTIONS * HTTP/1.1',
    'PURGE /x',
    'VERSION-CONTROL /',
    'M-SEARCH *',
    'GET http://a/',
    'POST HTTPS://a',
    'CONNECT a:80',
    'PRI * HTTP/1.1\r\n',
    'PRI /',
  ])('knows "%s" as HTTP/1.1', (text) => {
    expect(sniff(text)).toBe('http1');
  });

  it.each([
    'get /',
    '*1\r\n$4\r\nPING\r\n',
    'GET key\r\n',
    'PING\r\n',
    '\x16\x03\x01\x02',
    ' GET /',
    'EHLO mail',
    'G\0',
    `${'A'.repeat(25)} /`,
    '\r\nGET /',
  ])('takes "%s" for something else', (text) => {
    expect(sniff(text)).toBe('other');
  });

  it('says the same however many octets came first, and never needs more than its bound', () => {
    const word = fc.oneof(
      fc.string({ unit: 'binary-ascii', maxLength: 40 }),
      fc.constantFrom(preface, 'GET /x HTTP/1.1', 'GET http://a', 'QUIT'),
    );
    fc.assert(
      fc.property(word, (text) => {
        const whole = sniff(text);
        for (let length = 0; length < text.length; length++) {
          const part = sniff(text.slice(0, length));
          if (part !== 'need-more') expect(part).toBe(whole);
        }
        if (text.length >= maxSniffBytes) expect(whole).not.toBe('need-more');
      }),
    );
  });
});
