import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { podReference } from '../mesh/model/node-pod.ts';
import { openDescriptors } from '../mesh/io/testing/leaks.ts';
import { openPodNetnsLocator, podOfCgroup } from './pod-netns.ts';

const uid = '4a1f6c0e-0000-4000-8000-000000000001';
const other = '4a1f6c0e-0000-4000-8000-000000000002';
const underscored = uid.replaceAll('-', '_');

describe('podOfCgroup()', () => {
  test.each([
    [
      'cgroup v1 and 2 of the cgroupfs driver',
      `9:memory:/kubepods/burstable/pod${uid}/c1\n0::/kubepods/burstable/pod${uid}/c1\n`,
    ],
    ['guaranteed pods', `0::/kubepods/pod${uid}/c1`],
    [
      'the systemd driver',
      `0::/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod${underscored}.slice/cri-containerd-c1.scope`,
    ],
    [
      'kind',
      `0::/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod${underscored}.slice/cri-containerd-c1.scope`,
    ],
    ['a look from another pod (cgroup namespace)', `0::/../../pod${uid}/c1`],
    ['groups that a container made and named after another pod', `0::/kubepods/pod${uid}/c1/pod${other}`],
  ])('finds the pod: %s', (_what, text) => {
    expect(podOfCgroup(text)).toBe(uid);
  });

  test.each([
    ['a process of the node', '0::/system.slice/sshd.service'],
    ['an unfinished UID', '0::/kubepods/pod4a1f6c0e/c1'],
    ['two pods at once', `1:cpu:/kubepods/pod${uid}/c1\n0::/kubepods/pod${other}/c1`],
    ['nothing', ''],
  ])('finds none: %s', (_what, text) => {
    expect(podOfCgroup(text)).toBeUndefined();
  });
});

describe('openPodNetnsLocator()', () => {
  let proc: string;
  beforeEach(() => {
    proc = mkdtempSync(join(tmpdir(), 'weft-proc-'));
    addProcess(1, { ticks: 1, cgroup: '0::/init', namespace: 'node' });
  });
  afterEach(() => rmSync(proc, { recursive: true }));

  /** A namespace is a plain file here: what counts is which one a path leads to. */
  function addProcess(
    pid: number,
    { ticks, cgroup, namespace }: { ticks: number; cgroup: string; namespace: string },
  ): void {
    const folder = join(proc, `${pid}`);
    mkdirSync(join(folder, 'ns'), { recursive: true });
    writeFileSync(join(folder, 'cgroup'), `${cgroup}\n`);
    const fields = ['S', ...Array.from({ length: 18 }, () => '0'), `${ticks}`, '0'];
    writeFileSync(join(folder, 'stat'), `${pid} (a) b) ${fields.join(' ')}\n`);
    writeFileSync(join(folder, 'ns/net'), namespace);
  }
  const inPod = (ticks: number, namespace = 'pod') => ({
    ticks,
    cgroup: `0::/kubepods/pod${uid}/c`,
    namespace,
  });

  test('takes the oldest process of the pod, which is its sandbox', () => {
    addProcess(20, inPod(900, 'made later'));
    addProcess(30, inPod(500));
    const located = openPodNetnsLocator({ proc }).locate(podReference(uid));
    expect(located.path).toMatch(/^\/proc\/self\/fd\/\d+$/);
    rmSync(join(proc, '20'), { recursive: true });
    expect(located.isCurrent()).toBe(true);
    rmSync(join(proc, '30'), { recursive: true });
    expect(located.isCurrent()).toBe(false);
    located.close();
  });

  test('does not take a process for the same one whose number another pod has by now', () => {
    addProcess(20, inPod(900));
    const located = openPodNetnsLocator({ proc }).locate(podReference(uid));
    writeFileSync(join(proc, '20/cgroup'), `0::/kubepods/pod${other}/c\n`);
    expect(located.isCurrent()).toBe(false);
    located.close();
  });

  test('refuses a pod without a process on this node, and holds nothing open then', () => {
    addProcess(20, { ...inPod(900), cgroup: `0::/kubepods/pod${other}/c` });
    const before = openDescriptors();
    expect(() => openPodNetnsLocator({ proc }).locate(podReference(uid))).toThrow(/No process of pod/);
    expect(openDescriptors()).toBe(before);
  });

  test("refuses a pod on the node's own network, and holds nothing open then", () => {
    addProcess(20, inPod(900));
    rmSync(join(proc, '1/ns/net'));
    rmSync(join(proc, '20/ns'), { recursive: true });
    mkdirSync(join(proc, '20/ns'));
    writeFileSync(join(proc, '20/ns/net'), 'node');
    linkNode();
    const before = openDescriptors();
    expect(() => openPodNetnsLocator({ proc }).locate(podReference(uid))).toThrow(/network of its node/);
    expect(openDescriptors()).toBe(before);
  });

  function linkNode(): void {
    symlinkSync(join(proc, '20/ns/net'), join(proc, '1/ns/net'));
  }

  test('takes a path as it is, and notices when it is made anew', () => {
    const path = join(proc, 'named');
    writeFileSync(path, 'first');
    const located = openPodNetnsLocator({ proc }).locate(path);
    expect(located.path).toBe(path);
    expect(located.isCurrent()).toBe(true);
    writeFileSync(`${path}.new`, 'second');
    renameSync(`${path}.new`, path);
    expect(located.isCurrent()).toBe(false);
    expect(() => openPodNetnsLocator({ proc }).locate('/nowhere')).toThrow(/may be gone/);
  });
});
