import { describe, expect, it } from 'vitest';
import { parseManifest } from './parse-manifest.ts';
import { formatProblem } from './problem.ts';

const problems = (spec: string, kind = 'HTTPRoute') =>
  parseManifest(
    `apiVersion: gateway.networking.k8s.io/v1\nkind: ${kind}\nmetadata: { name: a, namespace: b }\nspec:\n${spec}`,
    'a.yaml',
  );

describe('misspeltFields()', () => {
  it('tells of fields that are near a known one, wherever they are, and keeps the object', () => {
    const { objects, problems: found } = problems(`  parentRef: []
  rules:
    - backendRef: []
      matches: [{ header: [] }]
      filters: [{ type: CORS, cors: { allowOrigin: [] } }]
`);
    expect(objects).toHaveLength(1);
    expect(found.map(formatProblem)).toEqual([
      'a.yaml:5:3: warning: HTTPRoute b/a: spec.parentRef: Unknown field "parentRef" is ignored: did you mean "parentRefs"?',
      'a.yaml:7:7: warning: HTTPRoute b/a: spec.rules[0].backendRef: Unknown field "backendRef" is ignored: did you mean "backendRefs"?',
      'a.yaml:8:19: warning: HTTPRoute b/a: spec.rules[0].matches[0].header: Unknown field "header" is ignored: did you mean "headers"?',
      'a.yaml:9:39: warning: HTTPRoute b/a: spec.rules[0].filters[0].cors.allowOrigin: Unknown field "allowOrigin" is ignored: did you mean "allowOrigins"?',
    ]);
  });

  it('says nothing of fields that a newer release may have, or that the mesh has no use for', () => {
    expect(problems('  useDefaultGateways: All\n  quantumRouting: { on: true }\n').problems).toEqual([]);
    const gateway = `  gatewayClassName: other
  addresses: [{ value: 192.0.2.1 }]
  defaultScope: All
  listeners:
    - { name: web, port: 443, protocol: HTTPS, tls: { mode: Terminate }, allowedRoutes: { kinds: [{ kind: HTTPRoute }] } }
`;
    expect(problems(gateway, 'Gateway').problems).toEqual([]);
  });
});
