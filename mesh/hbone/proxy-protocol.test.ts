import { describe, expect, it } from 'vitest';
import { ip } from '../model/fixture.ts';
import type { SpiffeId } from '../model/spiffe-id.ts';
import { proxyHeader } from './proxy-protocol.ts';

const signature = '0d0a0d0a000d0a515549540a';
const at = (address: string, port: number) => ({ address: ip(address), port });

function hexOf(source: [string, number], destination: [string, number], identity?: string): string {
  return proxyHeader({
    source: at(...source),
    destination: at(...destination),
    identity: identity as SpiffeId | undefined,
  }).toString('hex');
}

describe('proxyHeader()', () => {
  it('is that of the specification for IPv4', () => {
    expect(hexOf(['192.0.2.1', 0xabcd], ['10.96.0.1', 80])).toBe(
      `${signature}21${'11'}000c${'c0000201'}${'0a600001'}${'abcd'}${'0050'}`,
    );
  });

  it('is that of the specification for IPv6', () => {
    expect(hexOf(['2001:db8::1', 1], ['fd00::2', 2])).toBe(
      `${signature}2121002420010db8000000000000000000000001fd00000000000000000000000000000200010002`,
    );
  });

  it('writes an IPv4 address beside an IPv6 one as a mapped one', () => {
    expect(hexOf(['192.0.2.1', 1], ['fd00::2', 2])).toContain('00000000000000000000ffffc0000201fd00');
  });

  it('carries the identity of the source, and counts it', () => {
    const identity = 'spiffe://cluster.local/ns/shop/sa/web';
    const header = hexOf(['192.0.2.1', 1], ['10.96.0.1', 80], identity);
    const length = 12 + 3 + identity.length;
    expect(header.slice(28, 32)).toBe(length.toString(16).padStart(4, '0'));
    expect(header.endsWith(`d00025${Buffer.from(identity).toString('hex')}`)).toBe(true);
    expect(header.length / 2).toBe(16 + length);
  });
});
