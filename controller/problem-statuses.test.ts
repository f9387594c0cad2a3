import { describe, expect, it } from 'vitest';
import { withProblems } from './problem-statuses.ts';
import type { Problem } from './source/problem.ts';
import type { ObjectStatus } from './translate/statuses.ts';

const reference = { kind: 'AuthorizationPolicy', namespace: 'shop', name: 'web' } as const;
const fine: ObjectStatus = {
  ...reference,
  generation: 1,
  conditions: [{ type: 'Accepted', status: 'True', reason: 'Accepted', message: 'In force', faults: [] }],
};
const problem = (severity: Problem['severity'], message: string, field?: string): Problem => ({
  file: 'kubernetes',
  line: 0,
  column: 0,
  object: reference,
  ...(field === undefined ? {} : { field }),
  message,
  severity,
});

describe('withProblems()', () => {
  it('says of an object that could not be read that it is not accepted, and why, for its own generation', () => {
    const problems = [
      problem('error', 'Unknown field "x"', 'spec.x'),
      problem('warning', 'The last version stays'),
    ];
    expect(withProblems([fine], problems, () => 2)).toMatchObject([
      {
        ...reference,
        generation: 2,
        conditions: [
          {
            type: 'Accepted',
            status: 'False',
            reason: 'Invalid',
            message: 'spec.x: Unknown field "x"; The last version stays',
          },
        ],
      },
    ]);
  });

  it('leaves statuses alone when there are only warnings, or problems without an object', () => {
    const { object: _object, ...nobody } = problem('error', 'Watch of Pod fails');
    const statuses = [fine];
    expect(withProblems(statuses, [problem('warning', 'hm'), nobody], () => 2)).toBe(statuses);
  });
});
