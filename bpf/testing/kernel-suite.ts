// Describes tests that need root, a kernel with the hooks, and a C compiler: skipped with a clear line for a developer
// without them, failed where CI is set.

import { spawnSync } from 'node:child_process';
import { describe, it } from 'vitest';
import { probeFeatures } from '../probe.ts';

export function describeKernel(title: string, body: () => void): void {
  const missing = whatIsMissing();
  if (missing === undefined) return void describe(title, body);
  if (!process.env.CI) return void describe.skip(`${title} (skipped: ${missing})`, body);
  describe(title, () => {
    it('has what it needs', () => {
      throw new Error(missing);
    });
  });
}

function whatIsMissing(): string | undefined {
  const problem = probeFeatures()[0];
  if (problem !== undefined) return problem.message;
  return ['gcc', 'ip']
    .find((command) => spawnSync(command, ['-V']).error !== undefined)
    ?.concat(' is not installed');
}
