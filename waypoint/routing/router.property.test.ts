// The router against a slow one written straight from the Gateway API's text: try every match, keep the best.

import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Header } from '../../mesh/h2/header.ts';
import { normalizeTarget } from '../../mesh/http/path.ts';
import type { RequestHead } from '../../mesh/http/message.ts';
import type { HttpMatch, HttpRule, NamedMatch } from '../../mesh/model/routing.ts';
import {
  makeGrpcHead,
  makeGrpcRule,
  makeHead,
  makeMatch,
  makeRoutes,
  makeRule,
} from './testing/route-fixture.ts';
import { compileRoutes } from './router.ts';

/** Criteria in the order of the text, larger first. */
type Criteria = readonly number[];

function slowMatch(rules: readonly HttpRule[], head: RequestHead): string | undefined {
  let best: { name: string; criteria: Criteria } | undefined;
  for (const rule of rules) {
    for (const match of rule.matches.length === 0 ? [makeMatch({})] : rule.matches) {
      if (!slowMatches(match, head)) continue;
      const criteria = rule.name.kind === 'GRPCRoute' ? grpcCriteria(match) : httpCriteria(match);
      if (best === undefined || isMore(criteria, best.criteria)) best = { name: rule.name.rule, criteria };
    }
  }
  return best?.name;
}

function isMore(left: Criteria, right: Criteria): boolean {
  const at = left.findIndex((value, index) => value !== right[index]);
  return at >= 0 && (left[at] as number) > (right[at] as number);
}

function distinct(matches: readonly NamedMatch[]): NamedMatch[] {
  return matches.filter((match, at) => matches.findIndex(({ name }) => name === match.name) === at);
}

function httpCriteria(match: HttpMatch): Criteria {
  const { kind, value } = match.path ?? { kind: 'prefix', value: '/' };
  return [
    kind === 'exact' ? 1 : 0,
    kind === 'regex' ? 1 : 0,
    kind === 'regex' ? value.length : 0,
    kind === 'prefix' ? value.replace(/(.)\/$/, '$1').length : 0,
    match.method === undefined ? 0 : 1,
    distinct(match.headers).length,
    distinct(match.query).length,
  ];
}

function grpcCriteria({ grpc, headers }: HttpMatch): Criteria {
  const name = (value: string | undefined) =>
    value === undefined ? [0, 0] : [grpc?.kind === 'exact' ? 2 : 1, value.length];
  return [...name(grpc?.service), ...name(grpc?.method), distinct(headers).length];
}

function slowMatches(match: HttpMatch, head: RequestHead): boolean {
  const [path = '', query = ''] = head.path.split(/\?(.*)/s);
  if (match.method !== undefined && match.method !== head.method) return false;
  if (match.path !== undefined && !slowPath(match.path, path)) return false;
  if (match.grpc !== undefined && !slowGrpc(match.grpc, path)) return false;
  const header = (name: string) => {
    const values = head.headers.filter(([known]) => known === name).map(([, value]) => value);
    return values.length === 0 ? undefined : values.join(',');
  };
  const parameter = (name: string) => new URLSearchParams(query).get(name) ?? undefined;
  return (
    distinct(match.headers).every((condition) => slowValue(condition, header(condition.name))) &&
    distinct(match.query).every((condition) => slowValue(condition, parameter(condition.name)))
  );
}

function slowPath({ kind, value }: NonNullable<HttpMatch['path']>, path: string): boolean {
  if (kind === 'exact') return path === value;
  if (kind === 'regex') return new RegExp(`^(?:${value})$`).test(path);
  const elements = value.split('/').filter((element) => element !== '');
  const asked = path.split('/').filter((element) => element !== '');
  return elements.every((element, at) => element === asked[at]);
}

function slowGrpc(grpc: NonNullable<HttpMatch['grpc']>, path: string): boolean {
  if (grpc.service === undefined && grpc.method === undefined) return true;
  const [, service, method, ...more] = path.split('/');
  const matches = (known: string | undefined, asked: string | undefined) => {
    if (known === undefined) return true;
    return grpc.kind === 'exact' ? known === asked : new RegExp(`^(?:${known})$`).test(asked ?? '');
  };
  return (
    more.length === 0 &&
    !!service &&
    !!method &&
    matches(grpc.service, service) &&
    matches(grpc.method, method)
  );
}

function slowValue({ kind, value }: NamedMatch, asked: string | undefined): boolean {
  if (asked === undefined) return false;
  return kind === 'exact' ? asked === value : new RegExp(`^(?:${value})$`).test(asked);
}

const element = fc.constantFrom('a', 'b', 'ab', 'c.d');
const path = fc.array(element, { maxLength: 3 }).map((elements) => `/${elements.join('/')}`);
const withSlash = fc
  .tuple(path, fc.boolean())
  .map(([text, slash]) => (slash && text !== '/' ? `${text}/` : text));
const pattern = fc.constantFrom('/a.*', '/(a|b)/.*', '/[ab]', '.*', '/a/b?', '/ab?', '/a/(b|c.d)+');
const value = fc.constantFrom('1', '2', 'one', 'two', '1,2');
const valuePattern = fc.constantFrom('[12]', 'o.*', '.*', '1?,?2');

const named: fc.Arbitrary<NamedMatch> = fc.oneof(
  fc.record({ name: fc.constantFrom('x', 'y', 'z'), kind: fc.constant('exact' as const), value }),
  fc.record({ name: fc.constantFrom('x', 'y'), kind: fc.constant('regex' as const), value: valuePattern }),
);

const httpMatch: fc.Arbitrary<HttpMatch> = fc.record({
  path: fc.option(
    fc.oneof(
      fc.record({ kind: fc.constantFrom('exact' as const, 'prefix' as const), value: withSlash }),
      fc.record({ kind: fc.constant('regex' as const), value: pattern }),
    ),
    { nil: undefined },
  ),
  method: fc.option(fc.constantFrom('GET', 'POST'), { nil: undefined }),
  headers: fc.array(named, { maxLength: 3 }),
  query: fc.array(named, { maxLength: 2 }),
  grpc: fc.constant(undefined),
});

const grpcMatch: fc.Arbitrary<HttpMatch> = fc.record({
  path: fc.constant(undefined),
  method: fc.constant(undefined),
  headers: fc.array(named, { maxLength: 2 }),
  query: fc.constant([]),
  grpc: fc.option(
    fc.oneof(
      fc.record({
        kind: fc.constant('exact' as const),
        service: fc.option(element, { nil: undefined }),
        method: fc.option(element, { nil: undefined }),
      }),
      fc.record({
        kind: fc.constant('regex' as const),
        service: fc.option(fc.constantFrom('a.*', '[ab]+', 'c.d'), { nil: undefined }),
        method: fc.option(fc.constantFrom('.*', 'b|a'), { nil: undefined }),
      }),
    ),
    { nil: undefined },
  ),
});

function rules(match: fc.Arbitrary<HttpMatch>, make: typeof makeRule): fc.Arbitrary<HttpRule[]> {
  return fc
    .array(fc.array(match, { maxLength: 3 }), { maxLength: 12 })
    .map((list) => list.map((matches, at) => make(String(at), { matches })));
}

const headers: fc.Arbitrary<Header[]> = fc.array(fc.tuple(fc.constantFrom('x', 'y', 'z', 'w'), value), {
  maxLength: 4,
});
const query = fc
  .array(fc.tuple(fc.constantFrom('x', 'y', 'z'), value), { maxLength: 3 })
  .map((pairs) => pairs.map(([name, text]) => `${name}=${encodeURIComponent(text)}`).join('&'));

const request: fc.Arbitrary<RequestHead> = fc
  .record({ path: withSlash, query, method: fc.constantFrom('GET', 'POST', 'PUT'), headers })
  .map((parts) => {
    const target = parts.query === '' ? parts.path : `${parts.path}?${parts.query}`;
    return makeHead(normalizeTarget(target), { method: parts.method, headers: parts.headers });
  });

test('HTTPRoute rules are chosen as the slow router chooses', () => {
  fc.assert(
    fc.property(
      rules(httpMatch, makeRule),
      fc.array(request, { minLength: 1, maxLength: 8 }),
      (list, heads) => {
        const compiled = compileRoutes(makeRoutes(...list));
        expect(compiled.problems).toEqual([]);
        for (const head of heads) {
          expect(compiled.match(head)?.rule.name.rule).toBe(slowMatch(list, head));
        }
      },
    ),
    { numRuns: 1_500 },
  );
});

test('GRPCRoute rules are chosen as the slow router chooses', () => {
  const head = fc
    .record({ path: withSlash, headers })
    .map((parts) => makeGrpcHead(parts.path, parts.headers));
  fc.assert(
    fc.property(
      rules(grpcMatch, makeGrpcRule),
      fc.array(head, { minLength: 1, maxLength: 8 }),
      (list, heads) => {
        const compiled = compileRoutes(makeRoutes(...list));
        for (const asked of heads) {
          expect(compiled.match(asked)?.rule.name.rule).toBe(slowMatch(list, asked));
        }
      },
    ),
    { numRuns: 1_500 },
  );
});
