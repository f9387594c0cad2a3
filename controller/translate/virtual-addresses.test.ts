import { describe, expect, it } from 'vitest';
import { VirtualAddressPool } from './virtual-addresses.ts';

describe('VirtualAddressPool', () => {
  it('gives a name the same two addresses each time it is asked anew', () => {
    const first = new VirtualAddressPool().allocate('shop/api.example.com');
    expect(first.map((ip) => ip.replace(/[^.:]+$/, ''))).toEqual([
      expect.stringMatching(/^240\.240\./),
      '2001:2::f0f0:',
    ]);
    expect(new VirtualAddressPool().allocate('shop/api.example.com')).toEqual(first);
  });

  it('never gives one address twice, nor the first or last of the block, and ends when all are in use', () => {
    const pool = new VirtualAddressPool();
    const seen = new Set<string>();
    for (let i = 0; i < 65_534; i++) for (const ip of pool.allocate(`name-${i}`)) seen.add(ip);
    expect(seen.size).toBe(2 * 65_534);
    expect(seen.has('240.240.0.0') || seen.has('240.240.255.255')).toBe(false);
    expect(pool.allocate('one-more')).toEqual([]);
  });
});
