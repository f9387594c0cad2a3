import { describe, expect, test } from 'vitest';
import type { Header } from '../../mesh/h2/header.ts';
import type { RequestHead } from '../../mesh/http/message.ts';
import type {
  ExternalAuthFilter,
  HeaderEdit,
  HttpFilter,
  MirrorFilter,
  RedirectFilter,
  RewriteFilter,
} from '../../mesh/model/routing.ts';
import { MirrorSampler } from './mirror-sampler.ts';
import { applyRequestFilters, type FilteredRequest } from './request-filters.ts';
import { makeBackend, makeHead } from './testing/route-fixture.ts';

function apply(
  filters: readonly HttpFilter[],
  head: RequestHead,
  parts: { matchedPrefix?: string; port?: number } = {},
) {
  const { matchedPrefix, port = 80 } = parts;
  return applyRequestFilters(filters, head, {
    matchedPrefix,
    port,
    mirrors: new MirrorSampler({ random: () => 0 }),
  });
}

function forwarded(result: FilteredRequest): RequestHead {
  if (result.kind !== 'forward') throw new Error(`Answered with ${result.status}`);
  return result.head;
}

const edit = (parts: Partial<HeaderEdit>): HttpFilter => ({
  kind: 'request-headers',
  set: [],
  add: [],
  remove: [],
  ...parts,
});
const withHeaders = (...headers: Header[]) => makeHead('/', { headers });

describe('header modifiers', () => {
  test('set overwrites every line of the field, or makes it', () => {
    const filter = edit({ set: [['my-header', 'bar']] });
    expect(
      forwarded(apply([filter], withHeaders(['my-header', 'foo'], ['my-header', 'more']))).headers,
    ).toEqual([['my-header', 'bar']]);
    expect(forwarded(apply([filter], withHeaders())).headers).toEqual([['my-header', 'bar']]);
  });

  test('add appends to the field in its line, or makes it', () => {
    const filter = edit({ add: [['my-header', 'bar,baz']] });
    expect(forwarded(apply([filter], withHeaders(['my-header', 'foo']))).headers).toEqual([
      ['my-header', 'foo,bar,baz'],
    ]);
    expect(forwarded(apply([filter], withHeaders())).headers).toEqual([['my-header', 'bar,baz']]);
    expect(
      forwarded(apply([edit({ add: [['cookie', 'b=2']] })], withHeaders(['cookie', 'a=1']))).headers,
    ).toEqual([['cookie', 'a=1; b=2']]);
  });

  test('remove takes every line of the field', () => {
    const filter = edit({ remove: ['my-header1', 'my-header3'] });
    const head = withHeaders(
      ['my-header1', 'foo'],
      ['my-header2', 'bar'],
      ['my-header3', 'baz'],
      ['my-header1', 'x'],
    );
    expect(forwarded(apply([filter], head)).headers).toEqual([['my-header2', 'bar']]);
  });

  test('a host that is set becomes the authority; it can not be removed, added to or broken', () => {
    expect(forwarded(apply([edit({ set: [['host', 'other:81']] })], makeHead('/')))).toMatchObject({
      authority: 'other:81',
      headers: [],
    });
    const kept = edit({ set: [['host', 'a/b\r\n']], add: [['host', 'x']], remove: ['host'] });
    expect(forwarded(apply([kept], makeHead('/')))).toMatchObject({ authority: 'cart', headers: [] });
  });

  test('pseudo headers and fields that frame the message stay what they were', () => {
    const fields = [':path', 'content-length', 'transfer-encoding', 'connection', 'te', 'upgrade'];
    const filter = edit({ set: fields.map((name) => [name, '1']), remove: ['content-length'] });
    expect(forwarded(apply([filter], withHeaders(['content-length', '5']))).headers).toEqual([
      ['content-length', '5'],
    ]);
  });

  test('a value that would end its line is passed over', () => {
    const filter = edit({ set: [['a', 'x\r\nevil: 1']], add: [['b', 'x\0']] });
    expect(forwarded(apply([filter], withHeaders(['a', 'kept']))).headers).toEqual([['a', 'kept']]);
  });

  test('values beyond ASCII are sent as UTF-8', () => {
    const [header] = forwarded(apply([edit({ set: [['a', 'ü']] })], makeHead('/'))).headers;
    expect(header).toEqual(['a', '\xc3\xbc']);
  });

  test('the head that was given is not changed', () => {
    const head = withHeaders(['a', '1']);
    apply([edit({ set: [['a', '2']], add: [['b', '1']] })], head);
    expect(head.headers).toEqual([['a', '1']]);
    expect(forwarded(apply([], head))).toBe(head);
  });
});

describe('URL rewrite', () => {
  const rewrite = (parts: Partial<RewriteFilter>): HttpFilter => ({
    kind: 'rewrite',
    hostname: undefined,
    path: undefined,
    ...parts,
  });

  test('replaces the host', () => {
    expect(forwarded(apply([rewrite({ hostname: 'one.example.org' })], makeHead('/a?b'))).authority).toBe(
      'one.example.org',
    );
  });

  test('replaces the prefix or all of the path', () => {
    const prefix = rewrite({ path: { kind: 'prefix', value: '/one' } });
    expect(
      forwarded(apply([prefix], makeHead('/prefix/one/two?q'), { matchedPrefix: '/prefix/one' })).path,
    ).toBe('/one/two?q');
    const full = rewrite({ path: { kind: 'full', value: '/one' } });
    expect(forwarded(apply([full], makeHead('/full/one/two'))).path).toBe('/one');
  });

  test('goes together with a header modifier', () => {
    const filters = [rewrite({ path: { kind: 'full', value: '/test' } }), edit({ set: [['x', '1']] })];
    expect(forwarded(apply(filters, makeHead('/full')))).toMatchObject({
      path: '/test',
      headers: [['x', '1']],
    });
  });
});

describe('redirect', () => {
  const redirect = (parts: Partial<RedirectFilter> = {}): RedirectFilter => ({
    kind: 'redirect',
    scheme: undefined,
    hostname: undefined,
    path: undefined,
    port: undefined,
    status: 302,
    ...parts,
  });
  const location = (
    filter: RedirectFilter,
    head: RequestHead,
    parts: { matchedPrefix?: string; port?: number } = {},
  ) => {
    const result = apply([filter], head, parts);
    if (result.kind !== 'respond') throw new Error('Forwarded');
    return result.headers.find(([name]) => name === 'location')?.[1];
  };

  /** Gateway API, HTTPRequestRedirectFilter.port: listener port, filter, location. */
  test.each([
    [80, {}, 'http://cart/x'],
    [8080, {}, 'http://cart:8080/x'],
    [8080, { port: 80 }, 'http://cart/x'],
    [80, { port: 8083 }, 'http://cart:8083/x'],
    [80, { scheme: 'https' }, 'https://cart/x'],
    [8080, { scheme: 'https' }, 'https://cart/x'],
    [8080, { scheme: 'http' }, 'http://cart/x'],
    [80, { scheme: 'https', port: 443 }, 'https://cart/x'],
    [80, { scheme: 'https', port: 8443 }, 'https://cart:8443/x'],
    [443, {}, 'http://cart:443/x'],
    [80, { hostname: 'example.org' }, 'http://example.org/x'],
    [80, { hostname: 'example.org', port: 8083 }, 'http://example.org:8083/x'],
  ] as [number, Partial<RedirectFilter>, string][])('from port %d by %j to %s', (port, parts, expected) => {
    expect(location(redirect(parts), makeHead('/x', { authority: 'cart:9999' }), { port })).toBe(expected);
  });

  test('from a request that came by https', () => {
    const head = makeHead('/x', { scheme: 'https' });
    expect(location(redirect(), head, { port: 443 })).toBe('https://cart/x');
    expect(location(redirect(), head, { port: 80 })).toBe('https://cart:80/x');
    expect(location(redirect({ scheme: 'http' }), head, { port: 443 })).toBe('http://cart/x');
  });

  test.each([
    [
      { kind: 'prefix', value: '/replacement-prefix' },
      '/original-prefix/lemon',
      'http://cart/replacement-prefix/lemon',
    ],
    [{ kind: 'prefix', value: '' }, '/original-prefix', 'http://cart/'],
    [{ kind: 'full', value: '/full' }, '/original-prefix/lemon?q=1', 'http://cart/full?q=1'],
  ] as const)('with the path %j from %s to %s', (path, from, expected) => {
    expect(location(redirect({ path }), makeHead(from), { matchedPrefix: '/original-prefix' })).toBe(
      expected,
    );
  });

  test.each([301, 302, 303, 307, 308] as const)('answers %d without a body', (status) => {
    expect(apply([redirect({ status })], makeHead('/'))).toMatchObject({
      kind: 'respond',
      status,
      headers: expect.arrayContaining([['content-length', '0']]),
    });
  });

  test('keeps the brackets of an IPv6 host, and is relative for a request without a host', () => {
    expect(location(redirect({ port: 81 }), makeHead('/', { authority: '[::1]:80' }))).toBe(
      'http://[::1]:81/',
    );
    expect(location(redirect(), makeHead('/x', { authority: '' }))).toBe('/x');
    expect(location(redirect(), makeHead('*', { method: 'OPTIONS' }))).toBe('http://cart/');
  });

  test('follows what filters before it did, and asks those that authorize first', () => {
    const auth: ExternalAuthFilter = {
      kind: 'external-auth',
      protocol: 'http',
      target: makeBackend(1).target,
      path: '',
      allowedHeaders: [],
      allowedResponseHeaders: [],
      maxBodyBytes: 0,
    };
    const result = apply([edit({ set: [['host', 'other']] }), auth, redirect()], makeHead('/'));
    expect(result).toMatchObject({ kind: 'respond', externalAuth: [auth] });
    expect(apply([redirect(), auth], makeHead('/'))).toMatchObject({ externalAuth: [] });
    expect(apply([auth], makeHead('/'))).toMatchObject({ kind: 'forward', externalAuth: [auth] });
  });
});

describe('mirror', () => {
  const mirror = (numerator: number, denominator: number): MirrorFilter => ({
    kind: 'mirror',
    target: makeBackend(1).target,
    numerator,
    denominator,
  });

  test.each([
    [0, 100, 0],
    [1, 3, 100],
    [20, 100, 60],
    [100, 100, 300],
    [1, 1000, 0],
    [5, 0, 0],
  ])('takes %d of %d requests exactly', (numerator, denominator, expected) => {
    const filter = mirror(numerator, denominator);
    const mirrors = new MirrorSampler({ random: () => 0 });
    let taken = 0;
    for (let i = 0; i < 300; i++) {
      const result = applyRequestFilters([filter], makeHead('/'), {
        matchedPrefix: undefined,
        port: 80,
        mirrors,
      });
      if (result.kind === 'forward') taken += result.mirrors.length;
    }
    expect(taken).toBe(expected);
  });

  test('several filters count for themselves', () => {
    const filters = [mirror(1, 1), mirror(0, 1), mirror(1, 1)];
    const result = apply(filters, makeHead('/'));
    expect(result).toMatchObject({ kind: 'forward', mirrors: [filters[0], filters[2]] });
  });
});
