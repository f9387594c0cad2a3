import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { readInventory } from './manifest-pods.ts';

const base = join(import.meta.dirname, 'manifests/base');

test('the manifests describe two nodes and eleven pods with addresses of both families, each its own', () => {
  const { nodes, pods } = readInventory(base);
  expect(nodes).toEqual(['node-1', 'node-2']);
  const plain = ['web', 'batch', 'api-1', 'api-2', 'api-3', 'stranger'];
  const store = ['store-v1-1', 'store-v1-2', 'store-v2', 'waypoint-1', 'waypoint-2'];
  expect(pods.map((pod) => pod.name)).toEqual([...plain, ...store]);
  const addresses = pods.flatMap((pod) => [pod.address.v4, pod.address.v6]);
  expect(new Set(addresses).size).toBe(22);
  for (const pod of pods) {
    expect(nodes).toContain(pod.node);
    const index = pod.node.slice(-1);
    expect(pod.address.v4).toMatch(new RegExp(`^10\\.77\\.${index}\\.`));
    expect(pod.address.v6).toMatch(new RegExp(`^fd77:0:0:${index}::`));
  }
});

test('the annotation of each pod names the namespace the lab makes for it', () => {
  const text = ['pods.yaml', 'store.yaml'].map((file) => readFileSync(join(base, file), 'utf8')).join('\n');
  const annotated = [...text.matchAll(/weft\.dev\/netns: (\S+)/g)].map((match) => match[1]);
  expect(annotated).toEqual(readInventory(base).pods.map((pod) => `weft-demo-${pod.name}`));
});
