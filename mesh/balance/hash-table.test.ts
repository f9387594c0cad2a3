import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { buildMaglev, buildRing, type HashedEndpoint, type HashTable } from './hash-table.ts';
import { hashText, mixHash } from './text-hash.ts';

const kinds = [
  ['ring hash', buildRing, 1.6],
  ['Maglev', buildMaglev, 1.12],
] as const;

const keys = Array.from({ length: 20_000 }, (_, i) => hashText(`key-${i}`));

function owners(table: HashTable, endpoints: readonly HashedEndpoint[]): string[] {
  return keys.map((hash) => (endpoints[table.endpointAt(table.positionOf(hash))] as HashedEndpoint).name);
}

const fleet = fc
  .uniqueArray(fc.integer({ min: 0, max: 5_000 }), { minLength: 2, maxLength: 24 })
  .map((numbers) => numbers.map((i) => ({ name: `Kubernetes//Pod/shop/api-${i}`, weight: 1 })));

describe.each(kinds)('%s', (_name, build, spread) => {
  it('gives every endpoint about its share', () => {
    const endpoints = Array.from({ length: 10 }, (_, i) => ({ name: `api-${i}`, weight: i < 5 ? 1 : 3 }));
    const seen = new Map<string, number>();
    for (const owner of owners(build(endpoints), endpoints)) seen.set(owner, (seen.get(owner) ?? 0) + 1);
    for (const { name, weight } of endpoints) {
      const share = (seen.get(name) ?? 0) / ((keys.length * weight) / 20);
      expect(share).toBeGreaterThan(1 / spread);
      expect(share).toBeLessThan(spread);
    }
  });

  it('is the same whatever the order of the endpoints', () => {
    fc.assert(
      fc.property(fleet, (endpoints) => {
        const turned = endpoints.toReversed();
        expect(owners(build(turned), turned)).toEqual(owners(build(endpoints), endpoints));
      }),
      { numRuns: 10 },
    );
  });

  it('moves little more than the keys of an endpoint that goes, and hardly any other', () => {
    fc.assert(
      fc.property(fleet, fc.nat(), (endpoints, choice) => {
        const gone = endpoints[choice % endpoints.length] as HashedEndpoint;
        const left = endpoints.filter((endpoint) => endpoint !== gone);
        const before = owners(build(endpoints), endpoints);
        const after = owners(build(left), left);
        let disturbed = 0;
        for (const [i, owner] of before.entries()) if (owner !== gone.name && owner !== after[i]) disturbed++;
        // A ring moves no other key at all.
        expect(disturbed).toBeLessThanOrEqual(build === buildRing ? 0 : keys.length * 0.05);
      }),
      { numRuns: 15 },
    );
  });

  it('stays within its memory and ends for many endpoints of very different weight', () => {
    const endpoints = Array.from({ length: 3_000 }, (_, i) => ({
      name: `e-${i}`,
      weight: i === 0 ? 4_000_000_000 : 1,
    }));
    const table = build(endpoints);
    expect(table.length).toBeLessThanOrEqual(65_537);
    for (const hash of [0, 1, 2 ** 31, 2 ** 32 - 1]) {
      expect(endpoints[table.endpointAt(table.positionOf(hash))]).toBeDefined();
    }
  });
});

describe('hashText()', () => {
  it('is the same everywhere: its values are part of what waypoints agree on', () => {
    expect([hashText(''), hashText('a'), hashText('10.0.0.1')]).toEqual([
      mixHash(0x811c9dc5),
      expect.any(Number),
      expect.any(Number),
    ]);
    expect(hashText('key')).toBe(hashText('key'));
    expect(hashText('key', 1)).not.toBe(hashText('key'));
  });

  it('spreads similar texts over all of 32 bits', () => {
    const counts = new Uint32Array(64);
    for (const hash of keys) counts[hash >>> 26] = (counts[hash >>> 26] as number) + 1;
    const expected = keys.length / 64;
    for (const count of counts) expect(Math.abs(count - expected)).toBeLessThan(expected * 0.35);
  });
});
