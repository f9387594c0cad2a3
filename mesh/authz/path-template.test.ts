import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PathTemplate, templateFault } from './path-template.ts';

describe('PathTemplate', () => {
  it.each<[string, string, boolean]>([
    ['/foo/{*}', '/foo/bar', true],
    ['/foo/{*}', '/foo/', false],
    ['/foo/{*}', '/foo/bar/baz', false],
    ['/foo/{**}', '/foo/', true],
    ['/foo/{**}', '/foo/bar/baz', true],
    ['/foo/{**}', '/foo', false],
    ['/foo/{**}/', '/foo/bar/', true],
    ['/foo/{**}/', '/foo/bar', false],
    ['/foo/{**}/bar', '/foo/bar', false],
    ['/foo/{*}/bar/{**}', '/foo/buzz/bar/', true],
    ['/foo/{*}/bar/{**}', '/foo/buzz/bar/baz/x', true],
    ['/foo/{*}/bar/{**}', '/foo/bar/baz', false],
    ['/{*}', '/', false],
    ['/{**}', '/', true],
  ])('%s and %s: %s', (template, path, expected) => {
    expect(new PathTemplate(template).accepts(path)).toBe(expected);
  });

  it('matches what the equivalent regular expression matches', () => {
    const segment = fc.constantFrom('a', 'b', '', '{*}');
    const template = fc
      .tuple(fc.array(segment, { minLength: 1, maxLength: 4 }), fc.boolean(), fc.constantFrom('', '/a', '/'))
      .map(([segments, wide, end]) => `/${[...segments, ...(wide ? [`{**}${end}`] : [])].join('/')}`);
    const path = fc
      .array(fc.constantFrom('a', 'b', ''), { minLength: 1, maxLength: 6 })
      .map((segments) => `/${segments.join('/')}`);
    fc.assert(
      fc.property(template, path, (written, text) => {
        expect(templateFault(written)).toBeUndefined();
        const pattern = written.replaceAll('{**}', '.*').replaceAll('{*}', '[^/]+');
        expect(new PathTemplate(written).accepts(text)).toBe(new RegExp(`^${pattern}$`).test(text));
      }),
      { numRuns: 2000 },
    );
  });
});

describe('templateFault()', () => {
  it.each(['{*}', '/a{*}', '/{**}/{*}', '/{**}/{**}', '/{*', '/a*/{*}', '/{name}'])('refuses %s', (text) => {
    expect(templateFault(text)).toContain('is no path template');
  });
});
