import { defineConfig } from 'vitest/config';

const folders = '{mesh,bpf,cni,ztunnel,waypoint,controller,cli,e2e,bench,scripts,docs}';
const limits = {
  testTimeout: 30_000,
  hookTimeout: 60_000,
  pool: 'forks' as const,
  // On the shared machine of CI a test gets a second try; the report marks it, and a marked test is a bug to look at.
  retry: process.env['CI'] ? 1 : 0,
};

// Kernel tests share one cgroup root, so their files run one after the other, after everything else.
export default defineConfig({
  test: {
    projects: [
      {
        test: {
          ...limits,
          name: 'unit',
          include: [`${folders}/**/*.test.ts`],
          exclude: ['**/*.root.test.ts', '**/*.kube.test.ts', '**/*.e2e.test.ts'],
          maxWorkers: 2,
          sequence: { groupOrder: 0 },
        },
      },
      {
        test: {
          ...limits,
          name: 'kernel',
          include: [`${folders}/**/*.root.test.ts`],
          fileParallelism: false,
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
});
