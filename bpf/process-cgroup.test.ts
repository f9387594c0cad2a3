import { mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { findCgroup } from './process-cgroup.ts';

describe('findCgroup()', () => {
  let root: string;
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'weft-cgroup-'));
    group('', [1, 2]);
    group('/system.slice', []);
    group('/system.slice/kubelet.service', [300]);
    group('/kubelet.slice/kubelet.service', [400]);
    group('/kubelet.slice/kubepods.slice/pod1', [30]);
  });
  afterEach(() => rmSync(root, { recursive: true }));

  function group(path: string, pids: readonly number[]): void {
    mkdirSync(join(root, path), { recursive: true });
    writeFileSync(join(root, path, 'cgroup.procs'), pids.map((pid) => `${pid}\n`).join(''));
  }

  test.each([
    ['in a service', 300, '0::/system.slice/kubelet.service', '/system.slice/kubelet.service'],
    ['at the root', 2, '9:memory:/elsewhere\n0::/\n', '/'],
    ['seen from a pod', 300, '0::/../../../system.slice/kubelet.service', '/system.slice/kubelet.service'],
    ['at the root, seen from a pod', 2, '0::/../..', '/'],
    ['beside the pods, seen from one', 400, '0::/../../kubelet.service', '/kubelet.slice/kubelet.service'],
  ])('finds a process %s', (_where, pid, text, path) => {
    const id = statSync(join(root, path), { bigint: true }).ino;
    expect(findCgroup(root, pid, text)).toEqual({ path, id });
  });

  test.each([
    ['that the directory of that name has not', 30, '0::/system.slice/kubelet.service'],
    ['without a line of cgroup2', 300, '9:memory:/system.slice/kubelet.service'],
    ['whose directory is not mounted', 5, '0::/elsewhere'],
  ])('finds none for a process %s', (_what, pid, text) => {
    expect(findCgroup(root, pid, text)).toBeUndefined();
  });
});
