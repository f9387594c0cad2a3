// What the demo prints: for people a line with a tick or a cross a step and the table, for programs JSON lines.

import { styleText } from 'node:util';
import { formatTable, type Measurement } from './measure.ts';
import type { StepResult } from './step.ts';

export interface Comparison {
  readonly without: Measurement;
  readonly with: Measurement;
}

export interface Report {
  readonly note: (text: string) => void;
  readonly step: (result: StepResult) => void;
  readonly comparison: (comparison: Comparison) => void;
  readonly summary: (results: readonly StepResult[]) => void;
}

const nameWidth = 37;

export const textReport: Report = {
  note,
  step({ step, ok, detail }) {
    const sign = ok ? styleText('green', '✓') : styleText('red', '✗');
    console.log(
      `${sign} ${step.padEnd(nameWidth)} ${detail.replaceAll('\n', `\n${' '.repeat(nameWidth + 3)}`)}`,
    );
  },
  comparison(comparison) {
    console.log('');
    for (const line of formatTable(comparison.without, comparison.with)) console.log(line);
    note(
      'One Node client; client, server and both ztunnels share the cores of this machine. npm run bench compares proxies.',
    );
  },
  summary(results) {
    const failed = results.filter((result) => !result.ok).length;
    console.log('');
    console.log(
      failed === 0 ? `All ${results.length} steps hold.` : `${failed} of ${results.length} steps failed.`,
    );
  },
};

function note(text: string): void {
  console.log(styleText('dim', text));
}

export const jsonReport: Report = {
  note: () => undefined,
  step: (result) => console.log(JSON.stringify(result)),
  comparison: (comparison) => console.log(JSON.stringify({ step: 'table', ...comparison })),
  summary: () => undefined,
};
