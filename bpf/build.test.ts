import { expect, it } from 'vitest';
import { checkObjects } from './build.ts';

it('the committed objects are what the sources compile to', ({ skip }) => {
  const check = checkObjects();
  if (check.result === 'skipped') skip(check.reason);
  expect(check).toEqual({ result: 'same' });
});
