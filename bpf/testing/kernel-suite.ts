// What kernel tests need of the machine: root, the hooks, a C compiler, iproute2. Where something is missing they are
// skipped with a clear line in the title, except where CI is set: there they run, and fail.

import { spawnSync } from 'node:child_process';
import { probeFeatures } from '../probe.ts';

const missing = whatIsMissing();
// oxlint-disable-next-line no-restricted-properties -- the one setting of tests, not of the product
const mustRun = process.env.CI !== undefined;

/** For `describe.skipIf`. */
export const skipKernelTests = missing !== undefined && !mustRun;

/** For the end of the title: why the tests are skipped, or nothing. */
export const skipReason = skipKernelTests ? ` (skipped: ${missing})` : '';

function whatIsMissing(): string | undefined {
  const problem = probeFeatures()[0];
  if (problem !== undefined) return problem.message;
  const command = ['gcc', 'ip'].find((name) => spawnSync(name, ['-V']).error !== undefined);
  return command === undefined ? undefined : `${command} is not installed`;
}
