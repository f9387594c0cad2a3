import { describe, expect, it } from 'vitest';
import { makeWorkload } from '../model/fixture.ts';
import type { LoadBalancing, LocalityScope } from '../model/service.ts';
import { localityRank, localityTiers } from './locality.ts';

const source = makeWorkload('source', {
  node: 'n1',
  network: 'a',
  locality: { region: 'eu', zone: 'eu-1', subzone: 'x' },
});
const sameNode = makeWorkload('same-node', source);
const sameZone = makeWorkload('same-zone', { ...source, node: 'n2' });
const sameRegion = makeWorkload('same-region', {
  ...source,
  node: 'n3',
  locality: { ...source.locality, zone: 'eu-2' },
});
const elsewhere = makeWorkload('elsewhere', { ...source, network: 'b', node: 'n1' });

function tiers(
  mode: LoadBalancing['mode'],
  routingPreference: LocalityScope[],
  list = [elsewhere, sameRegion, sameZone, sameNode],
) {
  return localityTiers(list, {
    source,
    loadBalancing: { mode, routingPreference, healthPolicy: 'only-healthy' },
    placeOf: (workload) => workload,
  }).map((tier) => tier.map((workload) => workload.uid));
}

describe('localityRank()', () => {
  it('counts leading scopes only, so a later match does not make up for an earlier miss', () => {
    expect(localityRank(source, elsewhere, ['network', 'node'])).toBe(0);
    expect(localityRank(source, elsewhere, ['node', 'network'])).toBe(1);
    expect(localityRank(source, sameZone, ['region', 'zone', 'subzone', 'node', 'cluster'])).toBe(3);
  });
});

describe('localityTiers()', () => {
  const preference: LocalityScope[] = ['network', 'region', 'zone', 'node'];

  it('orders failover tiers from the nearest, network first being dominant', () => {
    expect(tiers('failover', preference)).toEqual([
      [sameNode.uid],
      [sameZone.uid],
      [sameRegion.uid],
      [elsewhere.uid],
    ]);
  });

  it('keeps full matches only when strict', () => {
    expect(tiers('strict', preference)).toEqual([[sameNode.uid]]);
    expect(tiers('strict', preference, [sameZone])).toEqual([]);
  });

  it('ignores the place in the other modes and without a preference', () => {
    expect(tiers('unspecified', preference)).toHaveLength(1);
    expect(tiers('passthrough', preference)).toHaveLength(1);
    expect(tiers('failover', [])).toHaveLength(1);
    expect(tiers('strict', [])).toHaveLength(1);
  });
});
