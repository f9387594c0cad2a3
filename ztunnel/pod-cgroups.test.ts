import { describe, expect, it } from 'vitest';
import { isBelow } from './pod-cgroups.ts';

describe('isBelow()', () => {
  it.each([
    ['/kubepods/burstable/pod1/c1', '/', true],
    ['/kubepods/pod1', '/kubepods', true],
    ['/kubepodsx/pod1', '/kubepods', false],
    // The tunnel has a cgroup namespace of its own, and the whole tree from the host.
    ['/../../burstable/pod1/c1', '/../../..', true],
    // It has only what it is in: pods are beside it.
    ['/../../burstable/pod1/c1', '/', false],
    ['/../pod2', '/..', true],
    ['/../../pod2', '/..', false],
  ])('%s is below %s: %s', (path, root, expected) => {
    expect(isBelow(path, root)).toBe(expected);
  });
});
