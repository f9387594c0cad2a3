import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { editTarget, hostOf } from './path-edit.ts';
import { compileRoutes } from './router.ts';
import { makeHead, makeMatch, makeRoutes, makeRule } from './testing/route-fixture.ts';

describe('editTarget()', () => {
  /** The table of HTTPPathModifier.replacePrefixMatch, through the router so that the prefix is the one it reports. */
  test.each([
    ['/foo/bar', '/foo', '/xyz', '/xyz/bar'],
    ['/foo/bar', '/foo', '/xyz/', '/xyz/bar'],
    ['/foo/bar', '/foo/', '/xyz', '/xyz/bar'],
    ['/foo/bar', '/foo/', '/xyz/', '/xyz/bar'],
    ['/foo', '/foo', '/xyz', '/xyz'],
    ['/foo/', '/foo', '/xyz', '/xyz/'],
    ['/foo/bar', '/foo', '', '/bar'],
    ['/foo/', '/foo', '', '/'],
    ['/foo', '/foo', '', '/'],
    ['/foo/', '/foo', '/', '/'],
    ['/foo', '/foo', '/', '/'],
    ['/foo', '/', '/xyz', '/xyz/foo'],
    ['/foo', '/', '/', '/foo'],
    ['/foo/bar?q=/foo', '/foo', '/xyz', '/xyz/bar?q=/foo'],
  ])('replaces in %s the prefix %s by %j: %s', (path, prefix, value, expected) => {
    const match = makeMatch({ path: { kind: 'prefix', value: prefix } });
    const taken = compileRoutes(makeRoutes(makeRule('it', { matches: [match] }))).match(makeHead(path));
    expect(editTarget(path, { kind: 'prefix', value }, taken?.matchedPrefix)).toBe(expected);
  });

  test('leaves a path alone that has no such prefix any more, or whose match was none', () => {
    expect(editTarget('/other', { kind: 'prefix', value: '/x' }, '/foo')).toBe('/other');
    expect(editTarget('/foobar', { kind: 'prefix', value: '/x' }, '/foo')).toBe('/foobar');
    expect(editTarget('/foo', { kind: 'prefix', value: '/x' }, undefined)).toBe('/foo');
  });

  test.each([
    ['/new', '/new?q=1'],
    ['new', '/new?q=1'],
    ['', '/?q=1'],
    ['/a?b#c', '/a%3Fb%23c?q=1'],
    ['/a b\r\nx: y', '/a%20b%0D%0Ax:%20y?q=1'],
    ['/ü%20%zz', '/%C3%BC%20%25zz?q=1'],
  ])('replaces the whole path by %j and keeps the query: %s', (value, expected) => {
    expect(editTarget('/foo/bar?q=1', { kind: 'full', value }, '/foo')).toBe(expected);
  });

  test('never makes a target that is no path', () => {
    fc.assert(
      fc.property(fc.string(), fc.constantFrom('full' as const, 'prefix' as const), (value, kind) => {
        expect(editTarget('/foo/bar', { kind, value }, '/foo')).toMatch(/^\/[!-~]*$/);
      }),
    );
  });
});

test.each([
  ['cart', 'cart'],
  ['cart:8080', 'cart'],
  ['10.0.0.1:80', '10.0.0.1'],
  ['[::1]:80', '[::1]'],
  ['[::1]', '[::1]'],
  ['', ''],
])('hostOf(%j) is %j', (authority, host) => {
  expect(hostOf(authority)).toBe(host);
});
