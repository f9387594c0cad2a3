import { mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Prober } from '../bpf/kubelet-maps.ts';
import { ManualClock } from '../mesh/runtime/clock.ts';
import { createLogger } from '../mesh/runtime/logger.ts';
import { findKubelets } from './kubelet.ts';
import { KubeletWatch } from './kubelet-watch.ts';

const pod = 'kubepods/burstable/pod4a1f6c0e-0000-4000-8000-000000000001';
const service = '/system.slice/kubelet.service';

interface FakeProcess {
  readonly name?: string;
  readonly netns?: string;
  readonly uid?: number;
  readonly cgroup?: string;
  /** As the reader sees it, where that is not the same. */
  readonly text?: string;
  readonly ticks?: number;
}

describe('finding the kubelet', () => {
  let proc: string;
  let cgroupRoot: string;

  beforeEach(() => {
    proc = mkdtempSync(join(tmpdir(), 'weft-proc-'));
    cgroupRoot = mkdtempSync(join(tmpdir(), 'weft-cgroup-'));
    start(1, { name: 'systemd', cgroup: '/' });
    start(20, { name: 'containerd', cgroup: '/system.slice/containerd.service' });
  });
  afterEach(() => {
    rmSync(proc, { recursive: true });
    rmSync(cgroupRoot, { recursive: true });
  });

  /** A namespace is a plain file here: what counts is which one a path leads to. */
  function start(
    pid: number,
    { name = 'kubelet', netns = 'node', uid = 0, ...rest }: FakeProcess = {},
  ): void {
    const { cgroup = service, text = cgroup, ticks = 100 } = rest;
    const folder = join(proc, `${pid}`);
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(join(folder, 'ns'), { recursive: true });
    writeFileSync(join(folder, 'comm'), `${name}\n`);
    writeFileSync(join(folder, 'status'), `Name:\t${name}\nUid:\t${Array(4).fill(uid).join('\t')}\n`);
    writeFileSync(join(folder, 'cgroup'), `0::${text}\n`);
    const fields = ['S', ...Array.from({ length: 18 }, () => '0'), `${ticks}`, '0'];
    writeFileSync(join(folder, 'stat'), `${pid} (${name}) ${fields.join(' ')}\n`);
    writeFileSync(join(proc, netns), '');
    symlinkSync(join(proc, netns), join(folder, 'ns/net'));
    const directory = join(cgroupRoot, cgroup);
    mkdirSync(directory, { recursive: true });
    writeFileSync(join(directory, 'cgroup.procs'), `${pid}\n`);
  }

  const end = (pid: number): void => rmSync(join(proc, `${pid}`), { recursive: true });
  const find = () => findKubelets({ proc, cgroupRoot });
  const idOf = (cgroup: string): bigint => statSync(join(cgroupRoot, cgroup), { bigint: true }).ino;

  describe('findKubelets()', () => {
    test('finds none on a machine without Kubernetes', () => {
      expect(find()).toEqual([]);
    });

    test.each(['kubelet', 'kubelite', 'k3s-server', 'k3s-agent'])(
      'finds %s and its control group',
      (name) => {
        start(300, { name, text: `/../../..${service}` });
        expect(find()).toMatchObject([{ pid: 300, name, cgroup: { path: service, id: idOf(service) } }]);
        expect(find()[0]).not.toHaveProperty('problem');
      },
    );

    test('finds several, also in one control group', () => {
      start(300);
      start(301, { cgroup: '/kubelet.slice/kubelet.service' });
      expect(find().map(({ pid }) => pid)).toEqual([300, 301]);
    });

    test.each<[string, FakeProcess]>([
      ['of another name', { name: 'kubelet2' }],
      ['of another network namespace', { netns: 'other' }],
      ['that is not root', { uid: 1000 }],
    ])('does not take one %s', (_what, process) => {
      start(300, process);
      expect(find()).toEqual([]);
    });

    test.each<[string, FakeProcess, string | RegExp]>([
      ['in a pod', { cgroup: `/${pod}/c1` }, /^it runs in pod 4a1f6c0e-/],
      ['in a static pod', { cgroup: '/kubepods/pod0123456789abcdef' }, 'it runs in a pod'],
      [
        'in a pod that only the mounted tree names',
        { cgroup: `/${pod}/c1`, text: '/../c1' },
        /^it runs in pod/,
      ],
      ['whose control group is not mounted', { cgroup: '/a', text: '/b' }, /^its control group is not in/],
    ])('tells why one %s is not exempt', (_what, process, problem) => {
      start(300, process);
      expect(find()).toMatchObject([{ pid: 300, problem: expect.stringMatching(problem) }]);
      expect(find()[0]).not.toHaveProperty('cgroup');
    });
  });

  describe('KubeletWatch', () => {
    let clock: ManualClock;
    let told: (readonly Prober[])[];
    let watch: KubeletWatch;

    beforeEach(() => {
      clock = new ManualClock();
      told = [];
    });
    afterEach(() => watch.close());

    function open(): void {
      watch = new KubeletWatch({
        maps: { admitOnly: (probers) => void told.push(probers), admitted: () => 7 },
        cgroupRoot,
        proc,
        netnsCookieAt: (path) => (path === `${proc}/1/ns/net` ? 5n : 0n),
        clock,
        logger: createLogger({ component: 'test', level: 'silent' }),
      });
    }

    const prober = (cgroup = service): Prober => ({ cgroupId: idOf(cgroup), netnsCookie: 5n });

    test("tells the kernel at the start, with the node's namespace, and shows what it found", () => {
      start(300);
      start(301, { cgroup: `/${pod}/c1` });
      open();
      expect(told).toEqual([[prober()]]);
      expect(watch.state()).toMatchObject([
        { pid: 300, name: 'kubelet', cgroup: service },
        { pid: 301, problem: expect.stringContaining('it runs in pod') },
      ]);
      expect(watch.probes()).toBe(7);
    });

    test('takes the exemption of an earlier process back where there is no kubelet', () => {
      open();
      expect(told).toEqual([[]]);
      expect(watch.state()).toEqual([]);
    });

    test('leaves the kernel alone while the kubelet is the same', () => {
      start(300);
      open();
      clock.advance(29_000);
      expect(told).toHaveLength(1);
    });

    test('notices within a second that the kubelet ended, and that it is back', () => {
      start(300);
      open();
      end(300);
      clock.advance(1_000);
      expect(told.at(-1)).toEqual([]);
      clock.advance(60_000);
      start(310, { ticks: 900, cgroup: '/system.slice/kubelet-2.service' });
      clock.advance(1_000);
      expect(told.at(-1)).toEqual([prober('/system.slice/kubelet-2.service')]);
    });

    test.each<[string, FakeProcess]>([
      ['moved to another control group', { cgroup: '/kube.slice' }],
      ['became another process of the same number', { ticks: 101, cgroup: '/kube.slice' }],
    ])('notices within a second that it %s', (_what, process) => {
      start(300);
      open();
      start(300, process);
      clock.advance(1_000);
      expect(told.at(-1)).toEqual([prober('/kube.slice')]);
    });

    test('notices one that starts on a machine that had none', () => {
      open();
      start(300);
      clock.advance(31_000);
      expect(told.at(-1)).toEqual([prober()]);
    });

    test('shows that the kernel refused, and ends', () => {
      start(300);
      let calls = 0;
      const admitOnly = (): void => {
        calls++;
        throw new Error('no memory');
      };
      watch = new KubeletWatch({
        maps: { admitOnly, admitted: () => 0 },
        cgroupRoot,
        proc,
        netnsCookieAt: () => 5n,
        clock,
        logger: createLogger({ component: 'test', level: 'silent' }),
      });
      expect(watch.state()).toEqual([{ pid: 300, name: 'kubelet', problem: 'no memory' }]);
      watch.close();
      const before = calls;
      clock.advance(60_000);
      expect(calls).toBe(before);
    });
  });
});
