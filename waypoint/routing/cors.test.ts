import { describe, expect, test } from 'vitest';
import { type Header, headerValue } from '../../mesh/h2/header.ts';
import type { CorsFilter } from '../../mesh/model/routing.ts';
import { allowsOrigin } from './cors.ts';
import { MirrorSampler } from './mirror-sampler.ts';
import { applyRequestFilters } from './request-filters.ts';
import { applyResponseFilters } from './response-filters.ts';
import { makeHead } from './testing/route-fixture.ts';

function corsOf(parts: Partial<CorsFilter> = {}): CorsFilter {
  return {
    kind: 'cors',
    allowOrigins: ['https://www.foo.com', 'https://*.bar.com'],
    allowCredentials: false,
    allowMethods: ['GET', 'OPTIONS'],
    allowHeaders: ['x-header-1', 'x-header-2'],
    exposeHeaders: ['x-header-3', 'x-header-4'],
    maxAgeSeconds: 5,
    ...parts,
  };
}

function preflight(cors: CorsFilter, origin: string, asked: { method?: string; headers?: string } = {}) {
  const { method = 'GET', headers } = asked;
  const fields: Header[] = [
    ['origin', origin],
    ['access-control-request-method', method],
  ];
  if (headers !== undefined) fields.push(['access-control-request-headers', headers]);
  const result = applyRequestFilters([cors], makeHead('/', { method: 'OPTIONS', headers: fields }), {
    matchedPrefix: undefined,
    port: 80,
    mirrors: new MirrorSampler({ random: () => 0 }),
  });
  if (result.kind !== 'respond') throw new Error('Forwarded');
  return { status: result.status, ...Object.fromEntries(result.headers) };
}

function answered(
  cors: CorsFilter,
  origin: string | undefined,
  headers: readonly Header[] = [],
): readonly Header[] {
  const request = makeHead('/', { headers: origin === undefined ? [] : [['origin', origin]] });
  return applyResponseFilters([cors], { status: 200, headers }, request).headers;
}

describe('allowsOrigin()', () => {
  test.each([
    ['https://www.foo.com', 'https://www.foo.com', true],
    ['https://www.foo.com', 'http://www.foo.com', false],
    ['https://www.foo.com', 'https://www.foo.com:443', true],
    ['https://www.foo.com:443', 'https://www.foo.com', true],
    ['https://www.foo.com', 'https://www.foo.com:8443', false],
    ['http://www.foo.com:80', 'http://www.foo.com', true],
    ['https://WWW.foo.com', 'https://www.foo.com', true],
    ['https://*.bar.com', 'https://www.bar.com', true],
    ['https://*.bar.com', 'https://xpto.www.bar.com', true],
    ['https://*.bar.com', 'https://bar.com', false],
    ['https://*.bar.com', 'https://.bar.com', false],
    ['https://*.bar.com', 'https://evilbar.com', false],
    ['https://*.bar.com', 'https://www.bar.com.evil.org', false],
    ['https://*.bar.com', 'https://evil.org/.bar.com', false],
    ['https://*.bar.com', 'https://x@www.bar.com', false],
    ['https://*.bar.com:8443', 'https://www.bar.com:8443', true],
    ['https://*', 'https://anything.org', true],
    ['https://*', 'http://anything.org', false],
    ['*', 'http://anything.org:12345', true],
    ['*', 'null', true],
    ['https://*', 'null', false],
    ['https://*.bar.com', 'https://*.bar.com', false],
    ['*', '*', false],
    ['https://*.b.bar.com', 'https://*.x.b.bar.com', false],
  ])('%s and %s: %s', (pattern, origin, expected) => {
    expect(allowsOrigin(corsOf({ allowOrigins: [pattern] }), origin)).toBe(expected);
  });
});

describe('a preflight', () => {
  test('from an allowed origin is told what is configured', () => {
    expect(
      preflight(corsOf({ allowCredentials: true, maxAgeSeconds: 3600 }), 'https://x.bar.com', {
        headers: 'x-header-1',
      }),
    ).toEqual({
      status: 204,
      'access-control-allow-origin': 'https://x.bar.com',
      'access-control-allow-credentials': 'true',
      'access-control-allow-methods': 'GET, OPTIONS',
      'access-control-allow-headers': 'x-header-1, x-header-2',
      'access-control-expose-headers': 'x-header-3, x-header-4',
      'access-control-max-age': '3600',
      vary: 'Origin, Access-Control-Request-Method, Access-Control-Request-Headers',
    });
  });

  test('from another origin is refused without a CORS field', () => {
    const answer = preflight(corsOf(), 'https://foobar.com');
    expect(answer.status).toBe(403);
    expect(Object.keys(answer).filter((name) => name.startsWith('access-control'))).toEqual([]);
  });

  const wild = { allowOrigins: ['*'], allowMethods: ['*'], allowHeaders: ['*'], exposeHeaders: ['*'] };

  test('wildcards are sent as they are without credentials', () => {
    expect(preflight(corsOf(wild), 'https://a.org', { method: 'PUT', headers: 'x-1' })).toMatchObject({
      'access-control-allow-origin': '*',
      'access-control-allow-methods': '*',
      'access-control-allow-headers': '*',
      'access-control-expose-headers': '*',
    });
  });

  test('wildcards stand for what was asked with credentials', () => {
    const cors = corsOf({ ...wild, allowCredentials: true });
    const answer = preflight(cors, 'https://a.org', { method: 'PUT', headers: 'x-1, x-2' });
    expect(answer).toMatchObject({
      'access-control-allow-origin': 'https://a.org',
      'access-control-allow-methods': 'PUT',
      'access-control-allow-headers': 'x-1, x-2',
    });
    expect(answer).not.toHaveProperty('access-control-expose-headers');
    expect(preflight(cors, 'https://a.org')).not.toHaveProperty('access-control-allow-headers');
  });

  test('an OPTIONS request that asks for nothing is forwarded', () => {
    const head = makeHead('/', { method: 'OPTIONS', headers: [['origin', 'https://www.foo.com']] });
    const context = { matchedPrefix: undefined, port: 80, mirrors: new MirrorSampler({ random: () => 0 }) };
    expect(applyRequestFilters([corsOf()], head, context)).toMatchObject({ kind: 'forward', head });
  });
});

describe('a response', () => {
  test('to an allowed origin is shared with it', () => {
    expect(answered(corsOf({ allowCredentials: true }), 'https://www.foo.com', [['a', '1']])).toEqual([
      ['a', '1'],
      ['access-control-allow-origin', 'https://www.foo.com'],
      ['access-control-allow-credentials', 'true'],
      ['access-control-expose-headers', 'x-header-3, x-header-4'],
      ['vary', 'Origin'],
    ]);
  });

  test('to another origin, or none, is not shared, whatever the application says', () => {
    const own: Header[] = [
      ['access-control-allow-origin', '*'],
      ['access-control-allow-credentials', 'true'],
    ];
    expect(answered(corsOf(), 'https://foobar.com', own)).toEqual([['vary', 'Origin']]);
    expect(answered(corsOf(), undefined, own)).toEqual([['vary', 'Origin']]);
  });

  test('names the origin it varies by once, and not when all get the same', () => {
    const vary: Header[] = [['vary', 'accept-encoding, origin']];
    expect(answered(corsOf({ exposeHeaders: [] }), 'https://foobar.com', vary)).toEqual(vary);
    const all = answered(corsOf({ allowOrigins: ['*'], exposeHeaders: [] }), 'https://foobar.com');
    expect(headerValue(all, 'access-control-allow-origin')).toBe('*');
    expect(headerValue(all, 'vary')).toBeUndefined();
  });
});

describe('response header modifiers', () => {
  test('apply in order, and cookies keep a line each', () => {
    const head = {
      status: 200,
      headers: [
        ['a', '1'],
        ['set-cookie', 'x=1'],
      ] as Header[],
    };
    const edit = { kind: 'response-headers' as const, set: [], add: [], remove: [] };
    const filters = [
      { ...edit, set: [['a', '2'] as const], add: [['set-cookie', 'y=2'] as const] },
      { ...edit, add: [['a', '3'] as const], remove: ['b'] },
    ];
    expect(applyResponseFilters(filters, head, makeHead('/')).headers).toEqual([
      ['set-cookie', 'x=1'],
      ['a', '2,3'],
      ['set-cookie', 'y=2'],
    ]);
  });

  test('leave the head as it is when no filter concerns it', () => {
    const head = { status: 200, headers: [] };
    expect(applyResponseFilters([], head, makeHead('/'))).toBe(head);
  });
});
