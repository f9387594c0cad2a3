import { describe, expect, it } from 'vitest';
import type { RequestHead } from '../http/message.ts';
import { hostOf, RequestFacts } from './http-facts.ts';

const head: RequestHead = {
  method: 'GET',
  scheme: 'http',
  authority: 'Api.Shop.Test:8080',
  path: '/a/../b//%63?x=/../y',
  upgrade: undefined,
  headers: [
    ['x-a', '1'],
    ['x-b', '2'],
    ['x-a', '3'],
  ],
};

describe('hostOf()', () => {
  it.each([
    ['a.test', 'a.test'],
    ['A.Test:80', 'a.test'],
    ['a.test.', 'a.test'],
    ['a.test.:80', 'a.test'],
    ['[2001:DB8::1]:80', '[2001:db8::1]'],
    ['[2001:db8::1]', '[2001:db8::1]'],
    ['user@a.test', 'a.test'],
    ['', ''],
    ['.', '.'],
  ])('%s is %s', (authority, host) => expect(hostOf(authority)).toBe(host));
});

describe('RequestFacts', () => {
  it('gives host, path and headers in the form rules compare', () => {
    const facts = new RequestFacts(head, undefined);
    expect([facts.host, facts.path, facts.method]).toEqual(['api.shop.test', '/b/c', 'GET']);
    expect(facts.headers('x-a')).toEqual(['1', '3']);
    expect(facts.headers('x-c')).toEqual([]);
    expect([facts.requestPrincipal, facts.claims]).toEqual(['', undefined]);
  });

  it('speaks for the verified token', () => {
    const facts = new RequestFacts(head, { principal: 'iss/ann', claims: { role: 'x' } });
    expect([facts.requestPrincipal, facts.claims]).toEqual(['iss/ann', { role: 'x' }]);
  });
});
