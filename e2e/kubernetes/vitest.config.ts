import { defineConfig } from 'vitest/config';

// Each file starts its own API server, so one file at a time: two would only take turns on the processor.
export default defineConfig({
  test: {
    include: ['e2e/kubernetes/**/*.kube.test.ts'],
    testTimeout: 60_000,
    hookTimeout: 120_000,
    pool: 'forks',
    fileParallelism: false,
    // As in vitest.config.ts: a second try on CI's shared machine, and a mark to look at.
    retry: process.env['CI'] ? 1 : 0,
  },
});
