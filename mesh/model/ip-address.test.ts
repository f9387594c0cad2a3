import { BlockList, isIPv4, isIPv6 } from 'node:net';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Cidr, IpAddress } from './ip-address.ts';
import {
  cidrContains,
  cidrFromBytes,
  formatHostPort,
  ipFromBytes,
  ipToBytes,
  isIpv6,
  isLoopback,
  networkAddress,
  parseCidr,
  parseHostPort,
  parseIpAddress,
} from './ip-address.ts';

const bytes4 = fc.uint8Array({ minLength: 4, maxLength: 4 });
const bytes16 = fc
  .array(fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 255 })), { minLength: 16, maxLength: 16 })
  .map((list) => Uint8Array.from(list));
const anyIp = fc.oneof(bytes4, bytes16).map(ipFromBytes);

describe('parseIpAddress()', () => {
  it.each([
    ['1.2.3.4', '1.2.3.4'],
    ['0.0.0.0', '0.0.0.0'],
    ['255.255.255.255', '255.255.255.255'],
    ['::', '::'],
    ['::1', '::1'],
    ['2001:DB8:0:0:0:0:0:1', '2001:db8::1'],
    ['2001:db8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
    ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
    ['1::', '1::'],
    ['::ffff:1.2.3.4', '1.2.3.4'],
    ['::FFFF:102:304', '1.2.3.4'],
    ['0:0:0:0:0:ffff:1.2.3.4', '1.2.3.4'],
    ['64:ff9b::1.2.3.4', '64:ff9b::102:304'],
    ['1:2:3:4:5:6:7::', '1:2:3:4:5:6:7:0'],
  ])('reads %s as %s', (text, canonical) => {
    expect(parseIpAddress(text)).toBe(canonical);
  });

  it.each([
    ...[
      '',
      '1',
      '1.2.3',
      '1.2.3.4.5',
      '1.2.3.256',
      '01.2.3.4',
      '00.0.0.0',
      '1.2.3.4 ',
      ' 1.2.3.4',
      '1..3.4',
      '1.2.3.',
      '.1.2.3',
      '1.2.3.4/8',
    ],
    ...[
      '0x1.2.3.4',
      '1e1.2.3.4',
      '+1.2.3.4',
      'localhost',
      ':',
      ':::',
      '1::2::3',
      '1:2:3:4:5:6:7',
      '1:2:3:4:5:6:7:8:9',
      '1:2:3:4:5:6:7:8::',
      '12345::',
    ],
    ...[
      'fe80::1%eth0',
      '[::1]',
      '1.2.3.4::',
      '::1.2.3',
      '::1.2.3.4:5',
      'g::',
      ':1:2:3:4:5:6:7:8',
      '1:2:3:4:5:6:7:',
      '١.2.3.4',
    ],
  ])('refuses "%s"', (text) => {
    expect(parseIpAddress(text)).toBeUndefined();
  });

  it('accepts exactly what node:net accepts, apart from zones', () => {
    const piece = fc.constantFrom(...'0123456789abcfF:.%'.split(''), '::', '1.2.3.4', 'ffff', '255', '00');
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 14 }), (pieces) => {
        const text = pieces.join('');
        const expected = (isIPv4(text) || isIPv6(text)) && !text.includes('%');
        expect(parseIpAddress(text) !== undefined).toBe(expected);
      }),
      { numRuns: 2000 },
    );
  });

  it('has one spelling for each address', () => {
    fc.assert(
      fc.property(anyIp, (ip) => {
        expect(parseIpAddress(ip)).toBe(ip);
        expect(ipFromBytes(ipToBytes(ip))).toBe(ip);
        if (isIpv6(ip)) expect(new URL(`http://[${ip}]/`).hostname).toBe(`[${ip}]`);
      }),
    );
  });
});

describe('ipFromBytes()', () => {
  it('turns IPv4-mapped IPv6 into IPv4', () => {
    expect(ipFromBytes(Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 10, 0, 0, 1))).toBe('10.0.0.1');
  });

  it('throws for other lengths', () => {
    for (const length of [0, 3, 5, 15, 17])
      expect(() => ipFromBytes(new Uint8Array(length))).toThrow(RangeError);
  });
});

describe('CIDR ranges', () => {
  it.each([
    ['10.1.2.3/8', '10.0.0.0', 8],
    ['10.1.2.3', '10.1.2.3', 32],
    ['0.0.0.0/0', '0.0.0.0', 0],
    ['2001:db8:ffff::1/33', '2001:db8:8000::', 33],
    ['::1', '::1', 128],
    ['::ffff:10.1.2.3/104', '10.0.0.0', 8],
    ['::ffff:10.1.2.3', '10.1.2.3', 32],
  ])('reads %s', (text, address, length) => {
    expect(parseCidr(text)).toEqual({ address, length });
  });

  it.each([
    '10.0.0.0/33',
    '10.0.0.0/',
    '10.0.0.0/-1',
    '10.0.0.0/08',
    '10.0.0.0/8/8',
    '/8',
    '::/129',
    '::ffff:1.2.3.4/95',
    '',
  ])('refuses "%s"', (text) => {
    expect(parseCidr(text)).toBeUndefined();
  });

  it('drops a wire CIDR with a bad length or address', () => {
    expect(cidrFromBytes(Uint8Array.of(10, 1, 2, 3), 8)).toEqual({ address: '10.0.0.0', length: 8 });
    expect(cidrFromBytes(Uint8Array.of(10, 1, 2, 3), 33)).toBeUndefined();
    expect(cidrFromBytes(Uint8Array.of(10, 1, 2), 8)).toBeUndefined();
  });

  it('never matches across families', () => {
    expect(cidrContains(parseCidr('0.0.0.0/0') as Cidr, '::1' as IpAddress)).toBe(false);
    expect(cidrContains(parseCidr('::/0') as Cidr, '1.2.3.4' as IpAddress)).toBe(false);
  });

  it('agrees with node:net BlockList', () => {
    fc.assert(
      fc.property(anyIp, anyIp, fc.nat(128), fc.nat(128), (base, other, rawLength, flipped) => {
        const bits = isIpv6(base) ? 128 : 32;
        const length = rawLength % (bits + 1);
        const near = ipToBytes(base);
        const bit = flipped % bits;
        near[bit >> 3] = (near[bit >> 3] as number) ^ (0x80 >> (bit & 7));
        const list = new BlockList();
        list.addSubnet(base, length, isIpv6(base) ? 'ipv6' : 'ipv4');
        for (const ip of [base, other, ipFromBytes(near)]) {
          const expected = isIpv6(ip) === isIpv6(base) && list.check(ip, isIpv6(ip) ? 'ipv6' : 'ipv4');
          expect(cidrContains({ address: base, length }, ip)).toBe(expected);
          if (expected) expect(networkAddress(ip, length)).toBe(networkAddress(base, length));
        }
      }),
      { numRuns: 500 },
    );
  });

  it('knows loopback', () => {
    expect(['127.0.0.1', '127.9.9.9', '::1'].every((ip) => isLoopback(ip as IpAddress))).toBe(true);
    expect(['128.0.0.1', '::', '::2', '10.127.0.1'].some((ip) => isLoopback(ip as IpAddress))).toBe(false);
  });
});

describe('parseHostPort()', () => {
  it.each([
    ['1.2.3.4:80', '1.2.3.4', 80],
    ['[::1]:65535', '::1', 65535],
    ['[2001:DB8:0::1]:1', '2001:db8::1', 1],
    ['[::ffff:1.2.3.4]:80', '1.2.3.4', 80],
    ['host:80', 'host', 80],
    ['api.shop.svc.cluster.local:8080', 'api.shop.svc.cluster.local', 8080],
    ['a_b-c.d.:1', 'a_b-c.d.', 1],
  ])('reads %s', (text, host, port) => {
    expect(parseHostPort(text)).toEqual({ host, port });
  });

  it.each([
    ...[
      '',
      ':80',
      'host',
      'host:',
      'host:0',
      'host:080',
      'host:65536',
      'host:+1',
      'host:1e1',
      'ho st:80',
      '::1:80',
      '[::1]',
      '[::1]80',
      '[::1:80',
    ],
    ...[
      '[1.2.3.4]:80',
      '[]:80',
      '1.2.3.256:80',
      '1.2.3:80',
      '-a:80',
      'a-:80',
      'a..b:80',
      `${'a'.repeat(64)}:80`,
      'a@b:80',
      'http://a:80',
      '[::1%lo]:80',
    ],
    `${'a.'.repeat(200)}b:80`,
  ])('refuses "%s"', (text) => {
    expect(parseHostPort(text)).toBeUndefined();
  });

  it('reads what formatHostPort() writes', () => {
    fc.assert(
      fc.property(anyIp, fc.integer({ min: 1, max: 65535 }), (host, port) => {
        expect(parseHostPort(formatHostPort(host, port))).toEqual({ host, port });
      }),
    );
  });
});
