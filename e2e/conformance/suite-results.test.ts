import { describe, expect, test } from 'vitest';
import { isRepeated, readResult, readStart, resultTable } from './suite-results.ts';

describe('readResult()', () => {
  test('reads how a test of the mesh profiles ended', () => {
    expect(readResult('    --- PASS: TestConformance/MeshBasic (1.25s)')).toEqual({
      name: 'MeshBasic',
      verdict: 'passed',
    });
    expect(readResult('--- FAIL: TestConformance/MeshPorts (60.00s)')?.verdict).toBe('failed');
    expect(readResult('    --- SKIP: TestConformance/MeshFrontend (0.00s)')?.verdict).toBe('skipped');
  });

  test.each([
    '--- PASS: TestConformance (10.00s)',
    '    --- SKIP: TestConformance/HTTPRouteCORS (0.00s)',
    '        --- PASS: TestConformance/MeshBasic/0_request_to_echo (0.20s)',
    '=== RUN   TestConformance/MeshBasic',
    'ResponseHeader=X:--- PASS: TestConformance/MeshBasic (1.00s) and more',
  ])('takes nothing from %j', (line) => {
    expect(readResult(line)).toBeUndefined();
  });
});

test('readStart() reads which test begins, not which part of one', () => {
  expect(readStart('=== RUN   TestConformance/MeshBasic')).toBe('MeshBasic');
  expect(readStart('=== RUN   TestConformance/MeshBasic/0_request_to_echo')).toBeUndefined();
  expect(readStart('=== RUN   TestConformance/HTTPRouteCORS')).toBeUndefined();
});

test('isRepeated() knows a request that is sent again from a pod that is waited for', () => {
  const request = 'Request [client http://echo/] failed, not ready yet: exit code 1 (after 2s)';
  const answer =
    'Response expectation failed for request: [client]  not ready yet: wanted 200, got 503 (after 1s)';
  expect(isRepeated(`    pod.go:67: 2026-11-21T09:47:03Z: ${request}`)).toBe(true);
  expect(isRepeated(`    pod.go:73: 2026-11-21T09:47:03Z: ${answer}`)).toBe(true);
  expect(isRepeated('    helpers.go:457: 2026-11-21T09:47:03Z: Pod mesh/echo-v1 not ready yet')).toBe(false);
});

test('resultTable() has what failed next to the sums', () => {
  const table = resultTable([
    { name: 'MeshBasic', verdict: 'failed', seconds: 60 },
    { name: 'MeshPorts', verdict: 'passed', seconds: 1.25 },
  ]);
  expect(table.split('\n')).toEqual([
    'MeshPorts  passed   1.3 s',
    'MeshBasic  failed   60.0 s',
    '1 passed, 0 skipped, 1 failed',
  ]);
});
