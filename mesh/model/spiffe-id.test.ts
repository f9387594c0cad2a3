import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatPrincipal, formatSpiffeId, identityOf, parseSpiffeId, sameIdentity } from './spiffe-id.ts';

const part = fc.stringMatching(/^[a-z0-9.-]{1,20}$/);
const identity = fc.record({ trustDomain: part, namespace: part, serviceAccount: part });

describe('SPIFFE identities', () => {
  it('parseSpiffeId() reads what formatSpiffeId() writes', () => {
    fc.assert(
      fc.property(identity, (id) => {
        expect(parseSpiffeId(formatSpiffeId(id))).toEqual(id);
      }),
    );
  });

  it.each([
    'td/ns/a/sa/b',
    'SPIFFE://td/ns/a/sa/b',
    'spiffe:/td/ns/a/sa/b',
    'https://td/ns/a/sa/b',
    'spiffe://td/ns/a/sa',
    'spiffe://td/ns/a/sa/b/',
    'spiffe://td/ns/a/sa/b/c',
    'spiffe://td/sa/a/ns/b',
    'spiffe:///ns/a/sa/b',
    'spiffe://td/ns//sa/b',
    'spiffe://td/ns/a/sa/',
    '',
    `spiffe://td/ns/a/sa/${'b'.repeat(2048)}`,
  ])('parseSpiffeId() refuses "%s"', (text) => {
    expect(parseSpiffeId(text)).toBeUndefined();
  });

  it('formatPrincipal() has no scheme', () => {
    expect(formatPrincipal({ trustDomain: 'td', namespace: 'a', serviceAccount: 'b' })).toBe('td/ns/a/sa/b');
  });

  it('identityOf() takes the three values and nothing else', () => {
    const pod = { trustDomain: 'td', namespace: 'a', serviceAccount: 'b', name: 'x' };
    expect(identityOf(pod)).toEqual({ trustDomain: 'td', namespace: 'a', serviceAccount: 'b' });
  });

  it('sameIdentity() compares all three values', () => {
    const a = { trustDomain: 'td', namespace: 'a', serviceAccount: 'b' };
    expect(sameIdentity(a, { ...a })).toBe(true);
    for (const key of ['trustDomain', 'namespace', 'serviceAccount']) {
      expect(sameIdentity(a, { ...a, [key]: 'other' })).toBe(false);
    }
  });
});
