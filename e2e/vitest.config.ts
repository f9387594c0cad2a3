import { defineConfig } from 'vitest/config';

// All files share one cluster, so they run one after the other.
export default defineConfig({
  test: {
    include: ['e2e/**/*.e2e.test.ts'],
    globalSetup: ['e2e/cluster/global-setup.ts'],
    setupFiles: ['e2e/cluster/keep-failures.ts'],
    testTimeout: 120_000,
    hookTimeout: 180_000,
    pool: 'forks',
    fileParallelism: false,
    sequence: { hooks: 'list' },
  },
});
