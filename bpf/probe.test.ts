import { spawnSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';

const root = process.getuid?.() === 0;

/** The probes as another user sees them: only a process of its own can drop its privileges. */
function probeAs(uid: number): { readonly feature: string; readonly message: string }[] {
  const module = new URL('./probe.ts', import.meta.url).href;
  const script = `process.setgroups([]);process.setgid(${uid});process.setuid(${uid});console.log(JSON.stringify((await import('${module}')).probeFeatures()))`;
  const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
    encoding: 'utf8',
  });
  expect(stderr).toBe('');
  return JSON.parse(stdout);
}

describe('probeFeatures()', () => {
  it.skipIf(!root)(
    'tells an unprivileged user what is needed, in one line, and blames no kernel feature',
    () => {
      const problems = probeAs(65534);
      expect(problems).toContainEqual(
        expect.objectContaining({
          feature: 'privileges',
          message:
            'The redirect needs CAP_SYS_ADMIN and CAP_NET_ADMIN: run as root or in a privileged container',
        }),
      );
      expect(problems.filter(({ feature }) => feature.startsWith('cgroup/'))).toEqual([]);
    },
  );

  it.skipIf(!root)('finds nothing missing for root on a kernel that has everything', () => {
    expect(probeAs(0)).toEqual([]);
  });
});
