import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { compare, describeDifferences, describeMovements } from './compare.ts';
import { median } from './median.ts';
import type { Figures } from './metrics.ts';
import { medianOf, ratioOf, type Results, type Round, readResults, writeResults } from './results.ts';
import { judge, slope } from './soak.ts';
import { markdownTable, otherRows, tableRows, writeDocsTable } from './table.ts';
import { targetRows } from './targets.ts';

function makeResults(rounds: readonly Round[]): Results {
  const machine = {
    kernel: '6.18.0',
    cpu: 'Test CPU',
    cores: 2,
    memoryGB: 8,
    congestionControl: 'cubic',
    node: '26.0.0',
    openssl: '3.5.0',
    nginx: '1.22.1',
    haproxy: '2.6.12',
    commit: 'abc1234',
  };
  const effort = { seconds: 4, rampSeconds: 1, idleConnections: 10_000 };
  const peers = { none: 'no mesh', nginx: 'nginx stream, mTLS', weft: 'Weft' };
  return { date: '2026-01-31T12:00:00.000Z', machine, effort, peers, rounds };
}

const round = (none: Figures, nginx: Figures, weft: Figures): Round => ({ none, nginx, weft });

describe('median()', () => {
  test.each([
    [[3, 1, 2], 2],
    [[4, 1, 3, 2], 2.5],
    [[7], 7],
  ])('of %j is %d', (values, expected) => expect(median(values)).toBe(expected));

  test('of nothing is undefined', () => expect(median([])).toBeUndefined());
});

describe('ratioOf()', () => {
  const results = makeResults([
    round({}, { bulk1: 10 }, { bulk1: 9 }),
    // A slow minute for both.
    round({}, { bulk1: 2 }, { bulk1: 1.8 }),
    round({}, { bulk1: 5 }, { bulk1: 10 }),
  ]);

  test('takes the ratio within each round, then the median', () => {
    expect(ratioOf(results, 'bulk1', { peer: 'weft', base: 'nginx' })).toBeCloseTo(0.9);
    expect(medianOf(results, 'weft', 'bulk1')).toBe(9);
  });

  test('is undefined where one of the two was not measured', () => {
    expect(ratioOf(results, 'bulk1', { peer: 'weft', base: 'none' })).toBeUndefined();
    expect(ratioOf(results, 'rttP50', { peer: 'weft', base: 'nginx' })).toBeUndefined();
  });
});

describe('compare()', () => {
  const before = makeResults([
    round({}, {}, { rttP50: 100, bulk1: 5 }),
    round({}, {}, { rttP50: 110, bulk1: 5 }),
  ]);

  test('is silent about a change within the spread of the rounds', () => {
    const after = makeResults([round({}, {}, { rttP50: 108, bulk1: 5.1 })]);
    expect(compare(before, after)).toEqual([]);
    expect(describeMovements([])).toEqual(['Nothing moved by more than the noise.']);
  });

  test('names what was not the same, but for the commit', () => {
    const now = { ...before, machine: { ...before.machine, cores: 4, commit: 'def5678' } };
    expect(describeDifferences(before, now)).toEqual(['not the same: cores 2 -> 4']);
    const longer = { ...before, effort: { ...before.effort, seconds: 10 } };
    expect(describeDifferences(before, longer)).toEqual(['not the same: seconds 4 -> 10']);
  });

  test('knows which way is better', () => {
    const after = makeResults([round({}, {}, { rttP50: 140, bulk1: 6 })]);
    const verdicts = compare(before, after).map(({ metric, better }) => [metric, better]);
    expect(verdicts).toEqual([
      ['bulk1', true],
      ['rttP50', false],
    ]);
    expect(describeMovements(compare(before, after))[0]).toBe(
      'worse   weft     64-byte round trip, p50: 105 -> 140 µs (+33 %, noise 5 %)',
    );
  });
});

describe('soak', () => {
  const slopes = (value: number, standardError: number) => [
    { value: 0, standardError: 1 },
    { value, standardError },
  ];

  test('slope() is exact for a line', () => {
    const { value, standardError } = slope([1, 2, 5, 9].map((x) => [x, 3 * x + 7]));
    expect(value).toBeCloseTo(3);
    expect(standardError).toBeCloseTo(0);
  });

  test('slope() knows the error of a noisy line', () => {
    // y = 0, 2, 0, 2: slope 0.4, residual variance 1.6, variance of x 5.
    const { value, standardError } = slope([
      [1, 0],
      [2, 2],
      [3, 0],
      [4, 2],
    ]);
    expect(value).toBeCloseTo(0.4);
    expect(standardError).toBeCloseTo(Math.sqrt(1.6 / 5));
  });

  test('slope() refuses fewer than three points', () =>
    expect(() =>
      slope([
        [1, 1],
        [2, 2],
      ]),
    ).toThrow('at least three points'));

  test('judge() calls growth only what noise can not explain, and flat only what it can not hide', () => {
    expect(judge(slopes(100, 10), 20)).toBe('growing');
    expect(judge(slopes(5, 5), 20)).toBe('flat');
    expect(judge(slopes(58, 48), 20)).toBe('undecided');
    expect(judge(slopes(-30, 40), 20)).toBe('undecided');
  });
});

describe('tables and files', () => {
  let directory: string;
  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), 'weft-bench-'));
  });
  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  const results = makeResults([
    round(
      { connections: 4000 },
      { connections: 500, connectionCpu: 1700 },
      { connections: 2000, connectionCpu: 350 },
    ),
  ]);

  test('a table has a row a metric, with Weft against nginx and no mesh', () => {
    expect(markdownTable(tableRows(results)).split('\n')).toEqual([
      '|  | no mesh | nginx stream, mTLS | Weft | Weft / nginx | Weft / no mesh |',
      '|---|---:|---:|---:|---:|---:|',
      '| new connections, /s | 4,000 | 500 | 2,000 | 4.00 | 0.50 |',
      '| proxy CPU a connection, µs | – | 1,700 | 350 | 0.21 | – |',
    ]);
  });

  test('two workers and the pods of one node have a table of their own, of what was measured', () => {
    const near = makeResults([{ 'none-near': { bulk1: 20 }, 'weft-near': { bulk1: 19, bulk1Cpu: 0.01 } }]);
    const peers = { 'none-near': 'no mesh, one node', 'weft-near': 'Weft, one node' };
    expect(markdownTable(otherRows({ ...near, peers })).split('\n')).toEqual([
      '|  | no mesh, one node | Weft, one node | Weft / no mesh, one node |',
      '|---|---:|---:|---:|',
      '| bulk, 1 stream, Gbit/s | 20.00 | 19.00 | 0.95 |',
      '| proxy CPU, bulk, 1 stream, s/GB | – | 0.01 | – |',
    ]);
    expect(otherRows(results)).toEqual([]);
  });

  test('targets say what they are of, and whether they were met; what was not measured is left out', () => {
    const pairs = makeResults([
      {
        nginx: { rttP50: 100, connections: 500 },
        haproxy: { rttP50: 90 },
        weft: { rttP50: 89, connections: 2000 },
      },
    ]);
    expect(targetRows(pairs)).toEqual([
      ['', 'target', 'measured', ''],
      ['64-byte round trip, p50: of the better pair', '≤ 0.95', '0.99', 'missed'],
      ['new connections: of nginx', '≥ 4', '4.00', 'met'],
    ]);
  });

  test('the docs table replaces only what is between the markers', () => {
    const file = join(directory, 'doc.md');
    const begin = '<!-- bench table begin: written by npm run bench -- --write-docs -->';
    writeFileSync(file, `above\n${begin}\nold\n<!-- bench table end -->\nbelow\n`);
    writeDocsTable(file, results);
    writeDocsTable(file, results);
    const text = readFileSync(file, 'utf8');
    expect(text).toMatch(/^above\n<!-- bench/);
    expect(text).toMatch(/<!-- bench table end -->\nbelow\n$/);
    expect(text.match(/new connections, \/s/g)).toHaveLength(1);
    expect(text).toContain('| new connections: of nginx | ≥ 4 | 4.00 | met |');
    expect(text).not.toContain('old');
  });

  test('a document without markers is refused, and left alone', () => {
    const file = join(directory, 'plain.md');
    writeFileSync(file, 'text\n');
    expect(() => writeDocsTable(file, results)).toThrow('no table markers');
  });

  test('results survive a file', () => {
    const file = join(directory, 'sub', 'results.json');
    writeResults(file, results);
    expect(readResults(file)).toEqual(results);
  });

  test('a file that holds something else is refused', () => {
    const file = join(directory, 'other.json');
    writeFileSync(file, '{}');
    expect(() => readResults(file)).toThrow('holds no benchmark results');
    expect(() => readResults(join(directory, 'missing.json'))).toThrow('Could not read results file');
  });
});
