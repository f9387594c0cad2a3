import { describe, expect, it } from 'vitest';
import { parseHeaderValue, parseHost, parseMethod, parsePath } from './http-match.ts';

describe('parsePath()', () => {
  it.each([
    ['/a', { kind: 'exact', value: '/a' }],
    ['/', { kind: 'exact', value: '/' }],
    ['/a/*', { kind: 'prefix', value: '/a/' }],
    ['/.*', { kind: 'prefix', value: '/.' }],
    ['*', { kind: 'presence' }],
    ['*.css', { kind: 'suffix', value: '.css' }],
    ['/ü', { kind: 'exact', value: '/%C3%BC' }],
    ['/a/{*}/b/{**}', { kind: 'template', value: '/a/{*}/b/{**}' }],
  ])('%s', (text, match) => expect(parsePath(text)).toEqual(match));

  it.each([
    'a',
    '/a/../b',
    '/a//b',
    '/a//*',
    '/%61',
    '/%2f',
    '*%2f',
    '/a?b',
    '/a#b',
    '/a b',
    '/a\\b',
    '/%zz',
    '/{*}//x',
  ])('refuses %s, which could never match', (text) => expect(parsePath(text)).toEqual(expect.any(String)));
});

describe('parseHost()', () => {
  it.each([
    ['A.Test', { kind: 'exact', value: 'a.test' }],
    ['a.test.', { kind: 'exact', value: 'a.test' }],
    ['*.Test', { kind: 'suffix', value: '.test' }],
    ['[2001:db8::1]', { kind: 'exact', value: '[2001:db8::1]' }],
  ])('%s', (text, match) => expect(parseHost(text)).toEqual(match));

  it.each(['a.test:80', 'a.test:*', 'http://a.test', 'ü.test', '[::1]:80', 'a*b'])('refuses %s', (text) =>
    expect(parseHost(text)).toEqual(expect.any(String)),
  );
});

describe('parseMethod() and parseHeaderValue()', () => {
  it('want methods in upper case', () => {
    expect(parseMethod('GET')).toEqual({ kind: 'exact', value: 'GET' });
    expect(parseMethod('get')).toEqual(expect.any(String));
  });

  it('read field values as octets', () => {
    expect(parseHeaderValue('ü*')).toEqual({ kind: 'prefix', value: 'Ã¼' });
  });
});
