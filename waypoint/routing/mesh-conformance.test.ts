// The cases of the Gateway API's mesh conformance suite (v1.6.3) that a router alone decides: MeshHTTPRouteMatching and
// MeshHTTPRouteQueryParamMatching. The suite itself needs a cluster.

import { describe, expect, test } from 'vitest';
import type { HttpMatch, HttpRule } from '../../mesh/model/routing.ts';
import { compileRoutes } from './router.ts';
import { exact, makeHead, makeMatch, makeRoutes, makeRule } from './testing/route-fixture.ts';

/** A rule is named after the backend its conformance test expects. */
const rule = (backend: string, ...matches: Partial<HttpMatch>[]): HttpRule =>
  makeRule(backend, { matches: matches.map(makeMatch) });
const prefix = (value: string) => ({ path: { kind: 'prefix' as const, value } });
const version = (value: string) => ({ headers: [exact('version', value)] });
const animal = (value: string) => ({ query: [exact('animal', value)] });

function backend(rules: readonly HttpRule[], path: string, versionHeader: string | undefined): string {
  const headers = versionHeader === undefined ? [] : [['version', versionHeader] as const];
  return compileRoutes(makeRoutes(...rules)).match(makeHead(path, { headers }))?.rule.name.rule ?? '404';
}

describe('MeshHTTPRouteMatching', () => {
  const rules = [
    rule('echo-v1', prefix('/'), version('one')),
    rule('echo-v2', prefix('/v2'), version('two')),
  ];

  test.each([
    ['/', undefined, 'echo-v1'],
    ['/example', undefined, 'echo-v1'],
    ['/', 'one', 'echo-v1'],
    ['/v2', undefined, 'echo-v2'],
    ['/v2/example', undefined, 'echo-v2'],
    ['/', 'two', 'echo-v2'],
    ['/v2/', undefined, 'echo-v2'],
    ['/v2example', undefined, 'echo-v1'],
    ['/foo/v2/example', undefined, 'echo-v1'],
  ])('%s with version %s goes to %s', (path, header, expected) => {
    expect(backend(rules, path, header)).toBe(expected);
  });
});

describe('MeshHTTPRouteQueryParamMatching', () => {
  const rules = [
    rule('echo-v1', animal('whale')),
    rule('echo-v2', animal('dolphin')),
    rule('echo-v1', { ...prefix('/path1'), ...animal('whale') }),
    rule('echo-v2', { ...version('one'), ...animal('whale') }),
    rule(
      'echo-v1',
      { ...prefix('/path3'), ...animal('shark') },
      { ...prefix('/path4'), ...version('three'), ...animal('kraken') },
    ),
    rule('echo-v1', prefix('/path5')),
    rule('echo-v2', animal('hydra')),
  ];

  test.each([
    ['/?animal=whale', undefined, 'echo-v1'],
    ['/?animal=dolphin', undefined, 'echo-v2'],
    ['/?animal=whale&otherparam=irrelevant', undefined, 'echo-v1'],
    ['/?animal=dolphin&color=yellow', undefined, 'echo-v2'],
    ['/?color=blue', undefined, '404'],
    ['/?animal=dog', undefined, '404'],
    ['/?animal=whaledolphin', undefined, '404'],
    ['/', undefined, '404'],
    ['/path1?animal=whale', undefined, 'echo-v1'],
    ['/?animal=whale', 'one', 'echo-v2'],
    ['/path3?animal=shark', undefined, 'echo-v1'],
    ['/path4?animal=kraken', 'three', 'echo-v1'],
    ['/?animal=shark', undefined, '404'],
    ['/path4?animal=kraken', undefined, '404'],
    ['/path5?animal=hydra', undefined, 'echo-v1'],
  ])('%s with version %s goes to %s', (path, header, expected) => {
    expect(backend(rules, path, header)).toBe(expected);
  });
});
