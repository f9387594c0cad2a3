import { expect, test } from 'vitest';
import { matchTlsRule } from './tls-routes.ts';

const rule = (name: string, ...hostnames: string[]) => ({
  name: { kind: 'TLSRoute' as const, namespace: 'shop', name, rule: '0' },
  hostnames,
  backends: [],
});

test.each([
  ['a.example.com', 'exact'],
  ['A.Example.COM.', 'exact'],
  ['b.example.com', 'wild'],
  ['x.b.example.com', 'wild'],
  ['example.com', 'any'],
  ['notexample.com', 'any'],
  [undefined, 'any'],
])('matchTlsRule() of %s takes the rule %s', (name, expected) => {
  const rules = [rule('exact', 'a.example.com'), rule('wild', '*.example.com'), rule('any')];
  expect(matchTlsRule(rules, name)?.name.name).toBe(expected);
});

test('matchTlsRule() takes none when no rule covers the name', () => {
  expect(matchTlsRule([rule('exact', 'a.example.com')], 'b.example.com')).toBeUndefined();
  expect(matchTlsRule([rule('exact', 'a.example.com')], undefined)).toBeUndefined();
  expect(matchTlsRule([rule('wild', '*.example.com')], '.example.com')).toBeUndefined();
});
