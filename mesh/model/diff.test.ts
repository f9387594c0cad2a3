import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { diffModel, modelEqual } from './diff.ts';
import { policyKey, serviceKey } from './key.ts';
import { defaultMeshConfig } from './mesh-config.ts';
import { emptyDelta, emptyModel, isEmptyDelta, type Model } from './model.ts';
import type { NodePod } from './node-pod.ts';
import type { WorkloadUid } from './workload.ts';

const json = fc.jsonValue({ maxDepth: 4 });

function modelOfPods(pods: Record<string, number>): Model {
  const entries = Object.entries(pods).map(([uid, revision]) => {
    return [uid as WorkloadUid, { uid, name: `pod-${revision}` } as NodePod] as const;
  });
  return { ...emptyModel, pods: new Map(entries) };
}

describe('modelEqual()', () => {
  it('takes a clone for equal', () => {
    fc.assert(
      fc.property(json, (value) => {
        expect(modelEqual(value, structuredClone(value))).toBe(true);
      }),
    );
  });

  it('tells different values apart, both ways', () => {
    fc.assert(
      fc.property(json, json, (a, b) => {
        const expected = toSorted(a) === toSorted(b);
        expect(modelEqual(a, b)).toBe(expected);
        expect(modelEqual(b, a)).toBe(expected);
      }),
    );
  });

  it('compares maps by content', () => {
    const a = new Map([
      ['x', [1]],
      ['y', [2]],
    ]);
    expect(
      modelEqual(
        a,
        new Map([
          ['y', [2]],
          ['x', [1]],
        ]),
      ),
    ).toBe(true);
    expect(
      modelEqual(
        a,
        new Map([
          ['x', [1]],
          ['y', [3]],
        ]),
      ),
    ).toBe(false);
    expect(
      modelEqual(
        a,
        new Map([
          ['x', [1]],
          ['z', [2]],
        ]),
      ),
    ).toBe(false);
    expect(modelEqual(a, { x: [1], y: [2] })).toBe(false);
    expect(modelEqual(new Map(), {})).toBe(false);
    expect(modelEqual({}, [])).toBe(false);
  });

  it('takes an undefined property for an absent one', () => {
    expect(modelEqual({ a: 1, b: undefined }, { a: 1 })).toBe(true);
    expect(modelEqual({ a: 1 }, { b: undefined, a: 1 })).toBe(true);
    expect(modelEqual({ a: undefined, b: 1 }, { a: 1, b: undefined })).toBe(false);
  });
});

describe('diffModel()', () => {
  it('is empty between equal models', () => {
    const delta = diffModel(modelOfPods({ a: 1 }), modelOfPods({ a: 1 }));
    expect(delta).toEqual(emptyDelta);
    expect(isEmptyDelta(delta)).toBe(true);
  });

  it('holds what is new, changed and gone', () => {
    const next = modelOfPods({ a: 1, b: 2, d: 1 });
    const delta = diffModel(modelOfPods({ a: 1, b: 1, c: 1 }), next);
    expect(delta).toEqual({
      ...emptyDelta,
      pods: [next.pods.get('b' as WorkloadUid), next.pods.get('d' as WorkloadUid)],
      removed: { ...emptyDelta.removed, pods: ['c'] },
    });
    expect(isEmptyDelta(delta)).toBe(false);
  });

  it('holds the mesh configuration only if it changed', () => {
    const meshConfig = { ...defaultMeshConfig, mtls: 'strict' } as const;
    expect(diffModel(emptyModel, { ...emptyModel, meshConfig }).meshConfig).toEqual(meshConfig);
    expect(isEmptyDelta({ ...emptyDelta, meshConfig })).toBe(false);
    expect(
      'meshConfig' in diffModel(emptyModel, { ...emptyModel, meshConfig: { ...defaultMeshConfig } }),
    ).toBe(false);
  });
});

it('keys join namespace and name', () => {
  expect([policyKey('a', 'b'), serviceKey('a', 'b.c')]).toEqual(['a/b', 'a/b.c']);
});

/** JSON with sorted keys; -0 told from 0, as Object.is does. */
function toSorted(value: unknown): string {
  if (Object.is(value, -0)) return '-0';
  if (Array.isArray(value)) return `[${value.map(toSorted).join()}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  const entries = Object.entries(value).map(([key, item]) => `${JSON.stringify(key)}:${toSorted(item)}`);
  return `{${entries.sort().join()}}`;
}
