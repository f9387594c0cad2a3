import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import { validateDirectory } from './validate.ts';

let directory: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'weft-validate-'));
  return () => rm(directory, { recursive: true });
});

const lines = async () =>
  (await validateDirectory(directory)).lines.map((line) => line.replaceAll(`${directory}/`, ''));

describe('validateDirectory()', () => {
  it('finds nothing wrong with good manifests', async () => {
    await writeFile(join(directory, 'a.yaml'), 'apiVersion: v1\nkind: Namespace\nmetadata: { name: shop }\n');
    expect(await validateDirectory(directory)).toEqual({ lines: [], problems: [], errors: 0, warnings: 0 });
  });

  it('gives each finding of reading and of translating its line and column', async () => {
    await writeFile(
      join(directory, 'a.yaml'),
      `apiVersion: weft.dev/v1alpha1
kind: AuthorizationPolicy
metadata: { name: a, namespace: shop }
spec:
  targetRefs:
    - { kind: Service, name: gone }
  rules:
    - from:
        - source:
            ipBlocks: [10.0.0.0/8, 10.0.0.0/64]
---
apiVersion: weft.dev/v1alpha1
kind: AuthorizationPolicy
metadata: { name: b, namespace: shop }
spec: { acton: DENY }
`,
    );
    expect(await lines()).toEqual([
      'a.yaml:6:7: warning: AuthorizationPolicy shop/a: spec.targetRefs[0]: Service shop/gone does not exist',
      expect.stringMatching(
        /^a\.yaml:10:36: error: AuthorizationPolicy shop\/a: spec\.rules\[0\]\.from\[0\]\.source\.ipBlocks\[1\]: "10\.0\.0\.0\/64" is neither/,
      ),
      'a.yaml:15:9: error: AuthorizationPolicy shop/b: spec.acton: Unknown field "acton": did you mean "action"?',
    ]);
    expect(await validateDirectory(directory)).toMatchObject({ errors: 2, warnings: 1 });
  });

  it('checks Gateway API objects as an API server would, and what they come to in this mesh', async () => {
    await writeFile(
      join(directory, 'a.yaml'),
      `apiVersion: v1
kind: Service
metadata: { name: api, namespace: shop, labels: { weft.dev/waypoint: wp } }
spec: { clusterIP: 10.96.0.1, ports: [{ port: 80 }] }
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: a, namespace: shop }
spec:
  parentRefs:
    - { group: "", kind: Service, name: api }
    - { group: "", kind: Service, name: api, port: 81 }
  rules:
    - matches:
        - path: { type: RegularExpression, value: "(?=x)" }
    - backendRefs:
        - { name: gone, port: 80 }
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: b, namespace: shop }
spec:
  parentRefs: [{ group: "", kind: Service, name: api }]
  rules:
    - matches:
        - path: { value: cart }
      timeouts: { request: soon }
`,
    );
    expect(await lines()).toEqual([
      expect.stringMatching(
        /^a\.yaml:3:70: warning: Service shop\/api: .*Gateway shop\/wp does not exist: traffic is refused/,
      ),
      expect.stringMatching(
        /^a\.yaml:11:7: warning: HTTPRoute shop\/a: spec\.parentRefs\[0\]: Nothing enforces the route/,
      ),
      'a.yaml:12:7: warning: HTTPRoute shop/a: spec.parentRefs[1]: Service shop/api has no port 81',
      expect.stringMatching(
        /^a\.yaml:15:51: error: HTTPRoute shop\/a: .*\.value: The regular expression is no RE2 syntax: /,
      ),
      'a.yaml:17:11: warning: HTTPRoute shop/a: spec.rules[1].backendRefs[0]: Service shop/gone does not exist',
      'a.yaml:26:26: error: HTTPRoute shop/b: spec.rules[0].matches[0].path.value: Must start with "/"',
      'a.yaml:27:28: error: HTTPRoute shop/b: spec.rules[0].timeouts.request: Must be a duration such as 5s, 500ms or 1h30m',
    ]);
  });

  it('throws for a directory that does not exist', async () => {
    await expect(validateDirectory(join(directory, 'nowhere'))).rejects.toMatchObject({
      code: 'DIRECTORY_MISSING',
    });
  });
});
