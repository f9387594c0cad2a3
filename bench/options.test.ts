import { expect, test } from 'vitest';
import { parseBenchOptions } from './options.ts';

test('without options everything is measured, in three rounds', () => {
  const options = parseBenchOptions([]);
  expect(options.peers).toEqual(['none', 'nginx', 'haproxy', 'weft', 'weft-2', 'none-near', 'weft-near']);
  expect(options.only).toEqual(['bulk', 'rtt', 'connections', 'memory']);
  expect(options).toMatchObject({ rounds: 3, json: undefined, effort: { idleConnections: 10_000 } });
});

test('a partial run writes no results file unless it is told where', () => {
  expect(parseBenchOptions(['--quick']).json).toBe('');
  expect(parseBenchOptions(['--peers', 'weft']).json).toBe('');
  expect(parseBenchOptions(['--quick', '--json', 'x.json']).json).toBe('x.json');
});

test('lists keep the order of the table, whatever order was typed', () => {
  expect(parseBenchOptions(['--peers', 'weft,none']).peers).toEqual(['none', 'weft']);
});

test.each([
  [['--peers', 'envoy'], 'got "envoy"'],
  [['--only', ''], 'got ""'],
  [['--rounds', '0'], 'from 1 to 999999, got "0"'],
  [['--seconds', '1.55'], 'got "1.55"'],
  [['--seconds', '0'], 'got "0"'],
  [['--soak', '0'], 'got "0"'],
  [['--fast'], '--fast'],
])('%j is refused', (argv, message) => expect(() => parseBenchOptions(argv)).toThrow(message));
