import { describe, expect, it } from 'vitest';
import { compareProblems, formatFieldPath, formatProblem, type Problem } from './problem.ts';

describe('formatFieldPath()', () => {
  it('joins names with dots, puts positions in brackets and quotes what is no plain name', () => {
    expect(formatFieldPath(['spec', 'rules', 0, 'from'])).toBe('spec.rules[0].from');
    expect(formatFieldPath(['metadata', 'labels', 'weft.dev/mode'])).toBe('metadata.labels["weft.dev/mode"]');
    expect(formatFieldPath([])).toBe('');
  });
});

describe('formatProblem()', () => {
  const object = { kind: 'Pod', namespace: 'shop', name: 'web' } as const;

  it('writes file, line, column, severity, object, field and message', () => {
    const problem: Problem = {
      file: 'a.yaml',
      line: 3,
      column: 7,
      object,
      field: 'spec',
      message: 'Bad',
      severity: 'error',
    };
    expect(formatProblem(problem)).toBe('a.yaml:3:7: error: Pod shop/web: spec: Bad');
  });

  it('leaves out what is not known', () => {
    const problem: Problem = { file: 'a.yaml', line: 0, column: 0, message: 'Bad', severity: 'warning' };
    expect(formatProblem(problem)).toBe('a.yaml: warning: Bad');
  });
});

describe('compareProblems()', () => {
  it('sorts by file, then by position as numbers', () => {
    const at = (file: string, line: number, column: number): Problem => ({
      file,
      line,
      column,
      message: '',
      severity: 'error',
    });
    const sorted = [at('b', 1, 1), at('a', 10, 1), at('a', 9, 2), at('a', 9, 1)].sort(compareProblems);
    expect(sorted.map(({ file, line, column }) => `${file}${line}:${column}`)).toEqual([
      'a9:1',
      'a9:2',
      'a10:1',
      'b1:1',
    ]);
  });
});
