import { defineConfig } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

/** Folders of e2e/suites that come first and last: those without the mesh, and those that take it away. */
const first = '/suites/basic/';
const last = /(uninstall|install-remove)/;

function rank({ moduleId }: TestSpecification): number {
  if (moduleId.includes(first)) return 0;
  return last.test(moduleId) ? 2 : 1;
}

/** The same order in each run: what a file leaves in the cluster meets the same next file. */
class InOrder extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    return files.toSorted((a, b) => rank(a) - rank(b) || (a.moduleId < b.moduleId ? -1 : 1));
  }
}

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
    // As in vitest.config.ts: a second try on CI's shared machine, and a mark to look at.
    retry: process.env['CI'] ? 1 : 0,
    sequence: { hooks: 'list', sequencer: InOrder },
  },
});
