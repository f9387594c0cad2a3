import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { normalizePath, normalizeTarget } from './path.ts';

describe('normalizePath()', () => {
  test.each([
    ['/', '/'],
    ['/a/b', '/a/b'],
    ['/a/b/', '/a/b/'],
    ['/a//b', '/a/b'],
    ['//a', '/a'],
    ['/a/./b', '/a/b'],
    ['/a/.', '/a/'],
    ['/a/..', '/'],
    ['/a/b/../c', '/a/c'],
    ['/../../a', '/a'],
    ['/a//../b', '/b'],
    ['/...', '/...'],
    ['/.well-known/x', '/.well-known/x'],
    ['/%61dmin', '/admin'],
    ['/%2e%2E/admin', '/admin'],
    ['/public/%2e%2e/admin', '/admin'],
    ['/a%2fb', '/a%2Fb'],
    ['/%c3%bc', '/%C3%BC'],
    ['/%7euser%5F', '/~user_'],
    ['/%', '/%25'],
    ['/%4', '/%254'],
    ['/%zz%41', '/%25zzA'],
    ['/%6%31dmin', '/%2561dmin'],
    ['/%2561', '/%2561'],
    ['/a\\b', '/a/b'],
    ['/public\\..\\admin', '/admin'],
    ['\\admin', '/admin'],
    ['/admin#x', '/admin%23x'],
    ['/ad\tmin x', '/ad%09min%20x'],
    ['/\xc3\xbc', '/%C3%BC'],
    ['*', '*'],
    ['', ''],
  ])('makes %j of %j', (path, normal) => {
    expect(normalizePath(path)).toBe(normal);
  });

  const path = fc
    .array(
      fc.constantFrom(
        '/',
        '.',
        '..',
        '%2e',
        '%2E',
        '%2f',
        '%41',
        '%',
        '%3',
        'a',
        'bc',
        '\\',
        '~',
        ';',
        'ü',
        '#',
        '\t',
      ),
    )
    .map((parts) => `/${parts.join('')}`);

  test('what was normalised stays as it is', () => {
    fc.assert(
      fc.property(path, (text) => {
        const once = normalizePath(text);
        expect(normalizePath(once)).toBe(once);
      }),
    );
  });

  test('leaves no dot segment, no empty one and no escaped unreserved octet', () => {
    fc.assert(
      fc.property(path, (text) => {
        const normal = normalizePath(text);
        expect(normal).not.toMatch(/\/\/|\\|(^|\/)\.\.?(\/|$)/);
        expect(normal).not.toMatch(/%(2D|2E|5F|7E|3\d|4[1-9A-F]|5[0-9A]|6[1-9A-F]|7[0-9A])/i);
      }),
    );
  });

  test('an ordinary path reads as URL reads it, but for the slashes', () => {
    const ordinary = fc
      .array(fc.constantFrom('a', 'b.c', '..', '.', 'x%20y'))
      .map((parts) => `/${parts.join('/')}`);
    fc.assert(
      fc.property(ordinary, (text) => {
        expect(normalizePath(text)).toBe(new URL(text, 'http://host').pathname);
      }),
    );
  });
});

describe('normalizeTarget()', () => {
  test('touches the path only', () => {
    expect(normalizeTarget('/a//b?x=//../%61')).toBe('/a/b?x=//../%61');
  });

  test('returns the same text when there is nothing to do', () => {
    expect(normalizeTarget('/a/b?x=%61')).toBe('/a/b?x=%61');
    expect(normalizeTarget('*')).toBe('*');
  });
});
