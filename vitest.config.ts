import { defineConfig } from 'vitest/config';

// Kernel tests share one cgroup root and fixed namespace names, so test files run one after the other there.
export default defineConfig({
  test: {
    include: ['{mesh,bpf,ztunnel,controller,cli,e2e,scripts}/**/*.test.ts'],
    testTimeout: 30_000,
    hookTimeout: 60_000,
    pool: 'forks',
    maxWorkers: 2,
  },
});
