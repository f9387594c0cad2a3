import { describe, expect, test } from 'vitest';
import type { RequestHead } from '../../mesh/http/message.ts';
import type { HttpMatch, HttpRule } from '../../mesh/model/routing.ts';
import {
  exact,
  makeBackend,
  makeGrpcHead,
  makeGrpcRule,
  makeHead,
  makeMatch,
  makeRoutes,
  makeRule,
  regex,
} from './testing/route-fixture.ts';
import { compileRoutes } from './router.ts';

/** Name of the rule that takes the request. */
function taken(rules: readonly HttpRule[], head: RequestHead): string | undefined {
  return compileRoutes(makeRoutes(...rules)).match(head)?.rule.name.rule;
}

function ruleOf(name: string, ...matches: Partial<HttpMatch>[]): HttpRule {
  return makeRule(name, { matches: matches.map(makeMatch) });
}

const prefix = (value: string) => ({ path: { kind: 'prefix' as const, value } });
const exactly = (value: string) => ({ path: { kind: 'exact' as const, value } });
const pattern = (value: string) => ({ path: { kind: 'regex' as const, value } });

describe('a match by path', () => {
  test.each([
    ['/abc', true],
    ['/abc/', false],
    ['/Abc', false],
    ['/abcd', false],
    ['/abc?x=1', true],
  ])('exact /abc against %s: %s', (path, expected) => {
    expect(taken([ruleOf('it', exactly('/abc'))], makeHead(path)) === 'it').toBe(expected);
  });

  test.each([
    ['/abc', '/abc', true],
    ['/abc', '/abc/', true],
    ['/abc', '/abc/def', true],
    ['/abc', '/abcd', false],
    ['/abc', '/Abc', false],
    ['/abc/', '/abc', true],
    ['/abc/', '/abc/def', true],
    ['/abc/', '/abcd', false],
    ['/abc', '/abc?x', true],
    ['/', '/', true],
    ['/', '/anything/at/all', true],
    ['/', '*', true],
    ['/a/b', '/a', false],
    ['/a/b', '/a/b/c', true],
    ['/a/b', '/a/c/b', false],
  ])('prefix %s against %s: %s', (value, path, expected) => {
    expect(taken([ruleOf('it', prefix(value))], makeHead(path)) === 'it').toBe(expected);
  });

  test.each([
    ['/v[0-9]+/items', '/v12/items', true],
    ['/v[0-9]+/items', '/v12/items/1', false],
    ['/v[0-9]+/items', '/x/v12/items', false],
    ['/a|/ab', '/ab', true],
    ['^/a$', '/a', true],
    ['/(?i)A', '/a', true],
  ])('the regular expression %s against %s, anchored: %s', (value, path, expected) => {
    expect(taken([ruleOf('it', pattern(value))], makeHead(path)) === 'it').toBe(expected);
  });

  test('a value of the configuration is normalised as requests are', () => {
    expect(taken([ruleOf('it', exactly('/%61/%c3%bc'))], makeHead('/a/%C3%BC'))).toBe('it');
  });

  test('without a path every request matches', () => {
    expect(taken([makeRule('it')], makeHead('/x'))).toBe('it');
    expect(taken([ruleOf('it', {})], makeHead('/x'))).toBe('it');
  });
});

describe('a match by method, header and query', () => {
  test('the method is compared with its case', () => {
    const rules = [ruleOf('it', { method: 'POST' })];
    expect(taken(rules, makeHead('/', { method: 'POST' }))).toBe('it');
    expect(taken(rules, makeHead('/', { method: 'post' }))).toBeUndefined();
  });

  test('header names are compared without case, values with it', () => {
    const rules = [ruleOf('it', { headers: [exact('Version', 'v2')] })];
    expect(taken(rules, makeHead('/', { headers: [['version', 'v2']] }))).toBe('it');
    expect(taken(rules, makeHead('/', { headers: [['version', 'V2']] }))).toBeUndefined();
    expect(taken(rules, makeHead('/'))).toBeUndefined();
  });

  test('of equal header names only the first condition counts', () => {
    const rules = [ruleOf('it', { headers: [exact('v', '1'), exact('V', '2')] })];
    expect(taken(rules, makeHead('/', { headers: [['v', '1']] }))).toBe('it');
    expect(taken(rules, makeHead('/', { headers: [['v', '2']] }))).toBeUndefined();
  });

  test('a repeated header is one list, cookies are one string', () => {
    const rules = [
      ruleOf('list', { headers: [exact('x', 'a,b')] }),
      ruleOf('cookie', { headers: [exact('cookie', 'a=1; b=2')] }),
    ];
    expect(
      taken(
        rules,
        makeHead('/', {
          headers: [
            ['x', 'a'],
            ['x', 'b'],
          ],
        }),
      ),
    ).toBe('list');
    expect(
      taken(
        rules,
        makeHead('/', {
          headers: [
            ['cookie', 'a=1'],
            ['cookie', 'b=2'],
          ],
        }),
      ),
    ).toBe('cookie');
  });

  test('the header Host is the authority', () => {
    const rules = [ruleOf('it', { headers: [exact('Host', 'cart.shop')] })];
    expect(taken(rules, makeHead('/', { authority: 'cart.shop' }))).toBe('it');
    expect(taken(rules, makeHead('/', { authority: 'cart' }))).toBeUndefined();
    expect(taken(rules, makeHead('/', { authority: '' }))).toBeUndefined();
  });

  test('a value beyond ASCII is compared as UTF-8, a regular expression sees its characters', () => {
    const octets = Buffer.from('grüß', 'utf8').toString('latin1');
    const rules = [ruleOf('it', { headers: [exact('x', 'grüß'), regex('y', 'gr.ß')] })];
    const headers = [['x', octets] as const, ['y', octets] as const];
    expect(taken(rules, makeHead('/', { headers }))).toBe('it');
  });

  test('the first value of a repeated query parameter counts', () => {
    const rules = [ruleOf('it', { query: [exact('animal', 'whale')] })];
    expect(taken(rules, makeHead('/?animal=whale&animal=cat'))).toBe('it');
    expect(taken(rules, makeHead('/?animal=cat&animal=whale'))).toBeUndefined();
    expect(taken(rules, makeHead('/?Animal=whale'))).toBeUndefined();
    expect(taken(rules, makeHead('/'))).toBeUndefined();
  });

  test('all conditions of a match must hold, any match of a rule suffices', () => {
    const rules = [
      ruleOf('it', { ...prefix('/foo'), headers: [exact('version', 'v2')] }, exactly('/v2/foo')),
    ];
    expect(taken(rules, makeHead('/foo', { headers: [['version', 'v2']] }))).toBe('it');
    expect(taken(rules, makeHead('/foo'))).toBeUndefined();
    expect(taken(rules, makeHead('/v2/foo'))).toBe('it');
  });
});

describe('precedence', () => {
  const head = makeHead('/api/v1?q=1', {
    headers: [
      ['h', '1'],
      ['i', '2'],
    ],
  });

  test.each([
    ['exact before regular expression', exactly('/api/v1'), pattern('/api/v[0-9]')],
    ['regular expression before prefix', pattern('/api.*'), prefix('/api/v1')],
    ['longer pattern before shorter', pattern('/api/v[0-9]'), pattern('/api/.*')],
    ['longer prefix before shorter', prefix('/api/v1'), { ...prefix('/api'), method: 'GET' }],
    ['method before headers', { method: 'GET' }, { headers: [exact('h', '1'), exact('i', '2')] }],
    [
      'more headers before fewer',
      { headers: [exact('h', '1'), exact('i', '2')] },
      { headers: [exact('h', '1')] },
    ],
    ['headers before query', { headers: [exact('h', '1')] }, { query: [exact('q', '1')] }],
    ['more query parameters before fewer', { query: [exact('q', '1')] }, {}],
  ] as [string, Partial<HttpMatch>, Partial<HttpMatch>][])('%s', (_, first, second) => {
    expect(taken([ruleOf('first', first), ruleOf('second', second)], head)).toBe('first');
    expect(taken([ruleOf('second', second), ruleOf('first', first)], head)).toBe('first');
  });

  test('a slash at the end of a prefix does not make it longer', () => {
    expect(taken([ruleOf('first', prefix('/api')), ruleOf('second', prefix('/api/'))], head)).toBe('first');
  });

  test('ties go to the first of the list', () => {
    const same = { headers: [regex('h', '.')] };
    expect(taken([ruleOf('first', same), ruleOf('second', same)], head)).toBe('first');
  });

  test('a less specific rule takes what a more specific one refuses', () => {
    const rules = [ruleOf('deep', { ...prefix('/api/v1'), method: 'POST' }), ruleOf('wide', prefix('/api'))];
    expect(taken(rules, head)).toBe('wide');
  });
});

describe('what a match says', () => {
  test('the prefix that matched, for rewrites, without its last slash', () => {
    const routes = compileRoutes(
      makeRoutes(ruleOf('p', prefix('/foo/')), ruleOf('e', exactly('/bar')), ruleOf('root', {})),
    );
    expect(routes.match(makeHead('/foo/x'))?.matchedPrefix).toBe('/foo');
    expect(routes.match(makeHead('/bar'))?.matchedPrefix).toBeUndefined();
    expect(routes.match(makeHead('/'))?.matchedPrefix).toBe('/');
  });

  test('the path of a session cookie', () => {
    const routes = compileRoutes(
      makeRoutes(
        ruleOf('p', prefix('/foo/')),
        ruleOf('e', exactly('/bar')),
        ruleOf('r', pattern('/p1/p2/[^/]*/p3')),
        ruleOf('odd', exactly('/a;b')),
      ),
    );
    expect(routes.match(makeHead('/foo/x'))?.cookiePath).toBe('/foo');
    expect(routes.match(makeHead('/bar'))?.cookiePath).toBe('/bar');
    expect(routes.match(makeHead('/p1/p2/foo/p3'))?.cookiePath).toBe('/p1/p2');
    expect(routes.match(makeHead('/a;b'))?.cookiePath).toBe('/');
  });

  test('one choice among the backends for all matches of a rule', () => {
    const backends = [makeBackend(1), makeBackend(1)];
    const matches = [makeMatch(exactly('/a')), makeMatch(exactly('/b'))];
    const routes = compileRoutes(makeRoutes(makeRule('it', { matches, backends })));
    const next = (path: string) => routes.match(makeHead(path))?.choice.next();
    expect(new Set([next('/a'), next('/b')])).toEqual(new Set([0, 1]));
  });
});

describe('GRPCRoute', () => {
  const grpc = (
    service: string | undefined,
    method: string | undefined,
    kind: 'exact' | 'regex' = 'exact',
  ) => ({
    grpc: { kind, service, method },
  });
  const grpcRule = (name: string, ...matches: Partial<HttpMatch>[]) =>
    makeGrpcRule(name, { matches: matches.map(makeMatch) });

  test.each([
    ['shop.Cart', 'Add', '/shop.Cart/Add', true],
    ['shop.Cart', 'Add', '/shop.Cart/add', false],
    ['shop.Cart', undefined, '/shop.Cart/Remove', true],
    ['shop.Cart', undefined, '/shop.CartV2/Remove', false],
    [undefined, 'Add', '/any.Service/Add', true],
    [undefined, 'Add', '/any.Service/Addition', false],
    ['shop.Cart', 'Add', '/shop.Cart/Add/more', false],
    ['shop.Cart', '', '/shop.Cart/Add', true],
  ])('service %s and method %s against %s: %s', (service, method, path, expected) => {
    expect(taken([grpcRule('it', grpc(service, method))], makeGrpcHead(path)) === 'it').toBe(expected);
  });

  test('a regular expression matches all of the name', () => {
    const rules = [grpcRule('it', grpc('shop\\..*', 'Add|Remove', 'regex'))];
    expect(taken(rules, makeGrpcHead('/shop.Cart/Remove'))).toBe('it');
    expect(taken(rules, makeGrpcHead('/shop.Cart/RemoveAll'))).toBeUndefined();
    expect(taken(rules, makeGrpcHead('/a.shop.Cart/Add'))).toBeUndefined();
  });

  test('without a match every gRPC request is taken, and no other', () => {
    expect(taken([makeGrpcRule('it')], makeGrpcHead('/a.B/C'))).toBe('it');
    expect(taken([makeGrpcRule('it')], makeHead('/a.B/C'))).toBeUndefined();
  });

  test.each([
    ['longer service before longer method', grpc('shop.Cart', undefined), grpc(undefined, 'AddManyItems')],
    ['service and method before service', grpc('shop.Cart', 'AddManyItems'), grpc('shop.Cart', undefined)],
    [
      'method before more headers',
      grpc('shop.Cart', 'AddManyItems'),
      { ...grpc('shop.Cart', undefined), headers: [exact('h', '1')] },
    ],
    ['more headers before fewer', { headers: [exact('h', '1')] }, {}],
    [
      'exact service before its pattern',
      grpc('shop.Cart', undefined),
      grpc('shop[.]Cart|more', 'AddManyItems', 'regex'),
    ],
    ['pattern before any service', grpc('shop.*', undefined, 'regex'), grpc(undefined, 'AddManyItems')],
  ] as [string, Partial<HttpMatch>, Partial<HttpMatch>][])('%s', (_, first, second) => {
    const head = makeGrpcHead('/shop.Cart/AddManyItems', [['h', '1']]);
    expect(taken([grpcRule('first', first), grpcRule('second', second)], head)).toBe('first');
    expect(taken([grpcRule('second', second), grpcRule('first', first)], head)).toBe('first');
  });

  test('takes a port from the HTTPRoutes on it, which are listed', () => {
    const routes = compileRoutes(makeRoutes(makeRule('http'), grpcRule('grpc', grpc('a.B', undefined))));
    expect(routes.match(makeHead('/x'))).toBeUndefined();
    expect(routes.match(makeGrpcHead('/a.B/C'))?.rule.name.rule).toBe('grpc');
    expect(routes.problems).toEqual([
      { rule: expect.objectContaining({ rule: 'http' }), reason: expect.stringContaining('GRPCRoute') },
    ]);
  });
});

describe('compileRoutes()', () => {
  test('says whether routes are attached', () => {
    expect(compileRoutes(makeRoutes()).hasRules).toBe(false);
    expect(compileRoutes(makeRoutes(makeRule('it'))).hasRules).toBe(true);
    expect(compileRoutes(makeRoutes(makeGrpcRule('it'))).hasRules).toBe(true);
  });

  test('an invalid regular expression takes its match out of play and is listed', () => {
    const routes = compileRoutes(makeRoutes(ruleOf('it', pattern('/(a'), exactly('/b')), ruleOf('all', {})));
    expect(routes.match(makeHead('/(a'))?.rule.name.rule).toBe('all');
    expect(routes.match(makeHead('/b'))?.rule.name.rule).toBe('it');
    expect(routes.problems).toEqual([
      { rule: expect.objectContaining({ rule: 'it' }), reason: expect.stringContaining('/(a') },
    ]);
  });

  test('rules whose every match is out of play still stand before the service: 404', () => {
    const routes = compileRoutes(makeRoutes(ruleOf('it', pattern('['))));
    expect(routes.hasRules).toBe(true);
    expect(routes.match(makeHead('/'))).toBeUndefined();
  });

  test('a text that is too long for a regular expression takes no way around its rule', () => {
    const rules = [ruleOf('guard', pattern('/admin/.*')), ruleOf('all', {}), ruleOf('exact', exactly('/ok'))];
    expect(taken(rules, makeHead(`/admin/${'x'.repeat(9_000)}`))).toBeUndefined();
    expect(taken(rules, makeHead(`/other/${'x'.repeat(9_000)}`))).toBe('all');
    expect(taken(rules, makeHead('/admin/x'))).toBe('guard');
    const byHeader = [ruleOf('guard', { headers: [regex('x', 'a.*')] }), ruleOf('all', {})];
    expect(taken(byHeader, makeHead('/', { headers: [['x', 'a'.repeat(9_000)]] }))).toBeUndefined();
  });

  test('ten thousand rules of every kind are compiled and found', () => {
    const rules = Array.from({ length: 10_000 }, (_, i) => {
      const kinds: Partial<HttpMatch>[] = [
        exactly(`/exact/${i}`),
        prefix(`/prefix/${i}`),
        { ...prefix('/'), headers: [exact('tenant', `t${i}`)] },
        { ...prefix('/'), query: [exact('tenant', `t${i}`)] },
      ];
      return ruleOf(String(i), kinds[i % kinds.length] as Partial<HttpMatch>);
    });
    const routes = compileRoutes(makeRoutes(...rules));
    expect(routes.problems).toEqual([]);
    for (let i = 0; i < rules.length; i += 4) {
      const name = (head: RequestHead) => routes.match(head)?.rule.name.rule;
      expect(name(makeHead(`/exact/${i}`))).toBe(String(i));
      expect(name(makeHead(`/prefix/${i + 1}/x`))).toBe(String(i + 1));
      expect(name(makeHead('/', { headers: [['tenant', `t${i + 2}`]] }))).toBe(String(i + 2));
      expect(name(makeHead(`/?tenant=t${i + 3}`))).toBe(String(i + 3));
    }
  });
});
