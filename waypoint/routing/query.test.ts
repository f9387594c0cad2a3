import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { decodeQuery, queryValue } from './query.ts';

describe('queryValue()', () => {
  test.each([
    ['a=1', 'a', '1'],
    ['a=1&b=2', 'b', '2'],
    ['a=1&a=2', 'a', '1'],
    ['a', 'a', ''],
    ['a=', 'a', ''],
    ['a=b=c', 'a', 'b=c'],
    ['aa=1', 'a', undefined],
    ['A=1', 'a', undefined],
    ['', 'a', undefined],
    ['&&a=1&', 'a', '1'],
    ['=1', 'a', undefined],
    ['%61=1', 'a', '1'],
    ['a=%31', 'a', '1'],
    ['a=%2531', 'a', '%31'],
    ['a=x%20y+z', 'a', 'x y z'],
    ['a=%2B', 'a', '+'],
    ['a=%', 'a', '%'],
    ['a=%zz', 'a', '%zz'],
    ['a=1;b=2', 'a', '1;b=2'],
  ])('of %j, %j is %j', (query, name, value) => {
    expect(queryValue(query, name)).toBe(value);
  });

  test('finds what URLSearchParams finds', () => {
    const text = fc.string({
      unit: fc.constantFrom('a', 'b', '=', '&', '+', '%', '2', '0', '4', '1'),
      maxLength: 24,
    });
    fc.assert(
      fc.property(text, fc.constantFrom('a', 'b', 'ab', 'A', 'a b'), (query, name) => {
        const expected = new URLSearchParams(query).get(name) ?? undefined;
        const found = queryValue(query, name);
        expect(found === undefined ? undefined : Buffer.from(found, 'latin1').toString('utf8')).toBe(
          expected,
        );
      }),
      { numRuns: 3_000 },
    );
  });
});

test('decodeQuery() decodes once', () => {
  expect(decodeQuery(decodeQuery('%2541'))).toBe('A');
  expect(decodeQuery('%2541')).toBe('%41');
});
