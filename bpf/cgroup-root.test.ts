import { describe, expect, it } from 'vitest';
import { parseCgroupMount } from './cgroup-root.ts';

describe('parseCgroupMount()', () => {
  it('finds the unified mount of a hybrid machine, not the v1 controllers', () => {
    const mountinfo = [
      '30 23 0:26 / /sys/fs/cgroup ro,nosuid shared:4 - tmpfs tmpfs ro,mode=755',
      '31 30 0:27 / /sys/fs/cgroup/unified rw,nosuid shared:5 - cgroup2 cgroup2 rw,nsdelegate',
      '32 30 0:28 / /sys/fs/cgroup/systemd rw,nosuid shared:6 - cgroup cgroup rw,xattr,name=systemd',
    ].join('\n');
    expect(parseCgroupMount(mountinfo)).toEqual({ path: '/sys/fs/cgroup/unified', root: '/' });
  });

  it('prefers the mount of the whole tree to a bind mount of a part', () => {
    const part = '40 1 0:27 /kubelet /run/part rw - cgroup2 cgroup2 rw';
    expect(parseCgroupMount(part)).toEqual({ path: '/run/part', root: '/kubelet' });
    const both = `${part}\n41 1 0:27 / /host/cgroup rw - cgroup2 cgroup2 rw`;
    expect(parseCgroupMount(both)?.path).toBe('/host/cgroup');
  });

  it('decodes escaped spaces', () => {
    expect(parseCgroupMount('40 1 0:27 / /my\\040cgroup rw - cgroup2 none rw')?.path).toBe('/my cgroup');
  });

  it('is undefined where there is none', () => {
    expect(parseCgroupMount('')).toBeUndefined();
    expect(parseCgroupMount('29 1 0:25 / /sys/fs/cgroup rw - cgroup none rw,memory')).toBeUndefined();
  });
});
