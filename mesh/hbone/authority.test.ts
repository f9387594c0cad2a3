import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatHostPort, ipFromBytes } from '../model/ip-address.ts';
import { parseAuthority } from './authority.ts';

const address = fc
  .oneof(fc.uint8Array({ minLength: 4, maxLength: 4 }), fc.uint8Array({ minLength: 16, maxLength: 16 }))
  .map((bytes) => ipFromBytes(bytes));
const port = fc.integer({ min: 1, max: 65_535 });

describe('parseAuthority()', () => {
  it('brings back every address and port that was formatted', () => {
    fc.assert(
      fc.property(address, port, (ip, number) => {
        expect(parseAuthority(formatHostPort(ip, number))).toEqual({
          kind: 'address',
          address: ip,
          port: number,
        });
      }),
    );
  });

  it('takes hostnames in lower case', () => {
    expect(parseAuthority('API.Shop.svc:8080')).toEqual({
      kind: 'hostname',
      hostname: 'api.shop.svc',
      port: 8080,
    });
  });

  it('reads an IPv4-mapped address as IPv4, the form everything else is compared with', () => {
    expect(parseAuthority('[::ffff:10.0.0.1]:80')).toEqual({
      kind: 'address',
      address: '10.0.0.1',
      port: 80,
    });
  });

  it.each([
    '',
    ':80',
    '10.0.0.1',
    '10.0.0.1:',
    '10.0.0.1:0',
    '10.0.0.1:65536',
    '10.0.0.1:080',
    '10.0.0.1:+80',
    '10.0.0.1: 80',
    '10.0.0.1:80 ',
    '010.0.0.1:80',
    '10.0.1:80',
    '::1:80',
    '[::1]',
    '[::1:80',
    '[::1%lo]:80',
    '[10.0.0.1]:80',
    'user@host:80',
    'http://host:80',
    'host/path:80',
    'a b:80',
    'host\u0000:80',
    '-host:80',
    `${'a'.repeat(260)}:80`,
    `${'a'.repeat(1024 * 1024)}:80`,
  ])('refuses "%.40s"', (text) => {
    expect(parseAuthority(text)).toBeUndefined();
  });

  it('never throws, and what it takes has an address or a plain name and a real port', () => {
    const text = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.string({ unit: fc.constantFrom(...Array.from('0123456789abcf.:[]%-_@/ ')) }),
      fc.tuple(fc.string(), port).map(([host, number]) => `${host}:${number}`),
    );
    fc.assert(
      fc.property(text, (given) => {
        const parsed = parseAuthority(given);
        if (parsed === undefined) return;
        expect(parsed.port).toBeGreaterThan(0);
        expect(parsed.port).toBeLessThan(65_536);
        if (parsed.kind === 'hostname') expect(parsed.hostname).toMatch(/^[a-z0-9._-]+$/);
        else expect(parseAuthority(formatHostPort(parsed.address, parsed.port))).toEqual(parsed);
      }),
      { numRuns: 500 },
    );
  });
});
