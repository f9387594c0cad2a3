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

  it('throws for a directory that does not exist', async () => {
    await expect(validateDirectory(join(directory, 'nowhere'))).rejects.toMatchObject({
      code: 'DIRECTORY_MISSING',
    });
  });
});
