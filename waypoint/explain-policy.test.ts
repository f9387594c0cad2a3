import { describe, expect, it } from 'vitest';
import type { Decision } from '../mesh/authz/policy-set.ts';
import type { Header } from '../mesh/h2/header.ts';
import { makePolicy } from '../mesh/model/fixture.ts';
import { explain, wantsExplanation } from './explain-policy.ts';

const peer = { trustDomain: 'cluster.local', namespace: 'shop', serviceAccount: 'web' };

function asking(...headers: Header[]) {
  return { method: 'GET', scheme: 'http', authority: 'a', path: '/', upgrade: undefined, headers } as const;
}

const asks = asking(['x-weft-explain', 'policy']);

describe('wantsExplanation()', () => {
  it('is off unless the Gateway names the client', () => {
    expect(wantsExplanation(asks, { peer, allowed: undefined })).toBe(false);
    expect(wantsExplanation(asks, { peer, allowed: [] })).toBe(false);
    expect(wantsExplanation(asks, { peer, allowed: ['bank/*', 'shop/api'] })).toBe(false);
    for (const allowed of ['*', 'shop/*', 'shop/web'])
      expect(wantsExplanation(asks, { peer, allowed: [allowed] })).toBe(true);
  });

  it('is off for a client without an identity, and for one that does not ask', () => {
    expect(wantsExplanation(asks, { peer: undefined, allowed: ['*'] })).toBe(false);
    expect(wantsExplanation(asking(), { peer, allowed: ['*'] })).toBe(false);
    expect(wantsExplanation(asking(['x-weft-explain', 'route']), { peer, allowed: ['*'] })).toBe(false);
  });
});

describe('explain()', () => {
  const { key: policy } = makePolicy('shop', 'p');

  it('names policy, rule and audits', () => {
    const decision: Decision = {
      allowed: false,
      reason: 'denied-by',
      policy,
      rule: 'rules[0]',
      audits: [{ policy, rule: '0' }],
    };
    expect(explain(decision)).toEqual([
      'x-weft-policy',
      'denied-by; policy="shop/p"; rule="rules[0]"; audit="shop/p"',
    ]);
    expect(explain({ allowed: true, reason: 'no-policy', audits: [] })).toEqual([
      'x-weft-policy',
      'no-policy',
    ]);
  });

  it('lets no rule name break the field', () => {
    const decision: Decision = {
      allowed: true,
      reason: 'allowed-by',
      policy,
      rule: 'a"\r\nx: ü',
      audits: [],
    };
    expect(explain(decision)[1]).toBe('allowed-by; policy="shop/p"; rule="a\\"??x: ?"');
  });
});
