import { describe, expect, it } from 'vitest';
import { meshObjects, podObject } from './mesh-objects.ts';
import { accepted } from './real-api.ts';

const size = { services: 20, pods: 200, nodes: 4 };

describe('meshObjects()', () => {
  it('has as many objects of each kind as asked for, each name and address once', () => {
    const objects = meshObjects(size);
    const count = (kind: string) => objects.filter((object) => object.kind === kind).length;
    expect(['Service', 'Pod', 'Node', 'Namespace', 'EndpointSlice'].map(count)).toEqual([20, 200, 4, 2, 20]);
    const keys = objects.map(({ kind, metadata }) => `${kind} ${metadata.namespace ?? ''}/${metadata.name}`);
    expect(new Set(keys).size).toBe(keys.length);
    const pods = objects.filter(({ kind }) => kind === 'Pod');
    expect(new Set(pods.map(({ status }) => (status as { podIP: string }).podIP)).size).toBe(200);
  });

  it('puts every pod behind one service, in its slice', () => {
    const slices = meshObjects(size).filter(({ kind }) => kind === 'EndpointSlice');
    const endpoints = slices.flatMap((slice) => slice['endpoints'] as { addresses: string[] }[]);
    expect(new Set(endpoints.flatMap(({ addresses }) => addresses)).size).toBe(200);
  });

  it('changes nothing but the version of a pod', () => {
    const { metadata: before, ...rest } = podObject(3, size);
    const { metadata: after, ...same } = podObject(3, size, { version: 't1' });
    expect(same).toEqual(rest);
    const labels = { ...(before['labels'] as object), version: 't1' };
    expect(after).toEqual({ ...before, labels });
  });
});

describe('accepted()', () => {
  it('leaves to the API server what it gives itself', () => {
    for (const object of meshObjects(size)) {
      const { metadata, ...rest } = accepted(object);
      expect(Object.keys(metadata)).not.toContain('uid');
      expect(JSON.stringify(rest)).not.toContain('clusterIP"');
      expect(rest).not.toHaveProperty('status');
    }
  });
});
