import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { parseManifest, referenceKey } from './parse-manifest.ts';
import { formatProblem } from './problem.ts';

const pod =
  'apiVersion: v1\nkind: Pod\nmetadata: { name: web, namespace: shop }\nspec: { nodeName: node-1 }\n';

describe('parseManifest()', () => {
  it('trims core objects to what the mesh reads', () => {
    const { objects, problems } = parseManifest(`${pod}status: { hostIP: 10.0.0.1 }\n`, 'a.yaml');
    expect(problems).toEqual([]);
    expect(objects[0]?.typed.object).toEqual({
      metadata: {
        name: 'web',
        namespace: 'shop',
        labels: {},
        annotations: {},
        creationTimestamp: '',
        deleting: false,
        ownerReferences: [],
      },
      spec: {
        nodeName: 'node-1',
        serviceAccountName: 'default',
        hostNetwork: false,
        containers: [],
        initContainers: [],
      },
      status: { podIPs: [], conditions: [] },
    });
  });

  it('gives namespaced objects the namespace default and cluster-scoped ones none', () => {
    const text =
      'apiVersion: v1\nkind: Pod\nmetadata: { name: a }\nspec: {}\n---\napiVersion: v1\nkind: Node\nmetadata: { name: n, namespace: ignored }\n';
    expect(parseManifest(text, 'a.yaml').objects.map(({ reference }) => reference)).toEqual([
      { kind: 'Pod', namespace: 'default', name: 'a' },
      { kind: 'Node', namespace: '', name: 'n' },
    ]);
  });

  it('fills in the defaults of the CRD', () => {
    const text =
      'apiVersion: weft.dev/v1alpha1\nkind: AuthorizationPolicy\nmetadata: { name: a }\nspec: { targetRefs: [{ kind: Service, name: s }], rules: null }\n';
    const { objects } = parseManifest(text, 'a.yaml');
    expect(objects[0]?.typed.object).toHaveProperty('spec', {
      action: 'ALLOW',
      dryRun: false,
      targetRefs: [{ group: '', kind: 'Service', name: 's' }],
    });
  });

  it('names broken objects it could identify', () => {
    const { broken, unidentified } = parseManifest(pod.replace('node-1', '7'), 'a.yaml');
    expect(broken).toEqual([{ kind: 'Pod', namespace: 'shop', name: 'web' }]);
    expect(unidentified).toBe(false);
  });

  it.each([
    ['a syntax error', 'a: "'],
    ['an object without kind', 'apiVersion: v1\n'],
    ['a misspelt own kind', 'apiVersion: weft.dev/v1alpha1\nkind: MeshConfigg\nmetadata: { name: a }\n'],
    ['an unusable name', pod.replace('web', 'UPPER')],
    ['a list instead of an object', '- a\n- b\n'],
  ])('says that it cannot tell which object broke in %s', (_what, text) => {
    const parsed = parseManifest(text, 'a.yaml');
    expect(parsed.unidentified).toBe(true);
    expect(parsed.problems.some(({ severity }) => severity === 'error')).toBe(true);
  });

  it('reads the objects around a syntax error', () => {
    const { objects, problems } = parseManifest(
      `${pod}---\na: [\n---\n${pod.replace('web', 'api')}`,
      'a.yaml',
    );
    expect(problems.length).toBeGreaterThan(0);
    expect(objects.map(({ reference }) => reference.name)).toContain('web');
  });

  it('never throws and gives every error a place, whatever the objects are', () => {
    const kinds = [
      'Pod',
      'Service',
      'Namespace',
      'EndpointSlice',
      'AuthorizationPolicy',
      'PeerAuthentication',
      'RequestAuthentication',
      'TrafficPolicy',
      'ServiceEntry',
      'WorkloadEntry',
      'MeshConfig',
      'List',
    ];
    const apiVersions = ['v1', 'weft.dev/v1alpha1', 'discovery.k8s.io/v1'];
    const key = fc.constantFrom(
      'spec',
      'metadata',
      'name',
      'rules',
      'from',
      'source',
      'ports',
      'selector',
      'items',
      'targetRefs',
      'endpoints',
      '__proto__',
      'constructor',
    );
    const value = fc.letrec((tie) => ({
      any: fc.oneof(
        { maxDepth: 5 },
        fc.jsonValue({ maxDepth: 1 }),
        fc.dictionary(key, tie('any')),
        fc.array(tie('any'), { maxLength: 3 }),
      ),
    })).any;
    const object = fc.record({
      apiVersion: fc.constantFrom(...apiVersions),
      kind: fc.constantFrom(...kinds),
      metadata: value,
      spec: value,
    });
    fc.assert(
      fc.property(fc.array(object, { maxLength: 4 }), (objects) => {
        const text = objects.map((item) => stringify(item)).join('---\n');
        for (const problem of parseManifest(text, 'a.yaml').problems) {
          expect(formatProblem(problem)).toMatch(/^a\.yaml:\d+:\d+: (error|warning): /);
        }
      }),
      { numRuns: 150 },
    );
  });

  it('reads good objects the same whatever stands between them', () => {
    const junk = fc.oneof(
      fc.jsonValue().map((value) => stringify(value)),
      fc.constantFrom('kind: Pod\n', 'apiVersion: v1\nkind: Pod\n', '42\n'),
    );
    fc.assert(
      fc.property(fc.array(junk, { maxLength: 5 }), (pieces) => {
        const text = [pod, ...pieces, pod.replace('web', 'api')].join('---\n');
        const { objects } = parseManifest(text, 'a.yaml');
        expect(objects.map(({ reference }) => referenceKey(reference))).toEqual([
          'Pod/shop/web',
          'Pod/shop/api',
        ]);
      }),
      { numRuns: 100 },
    );
  });
});
