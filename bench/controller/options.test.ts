import { describe, expect, it } from 'vitest';
import { controllerUsage, parseControllerBenchOptions } from './options.ts';

describe('parseControllerBenchOptions()', () => {
  it('measures the size of the targets unless told otherwise', () => {
    expect(parseControllerBenchOptions([])).toEqual({
      help: false,
      simulate: false,
      apiServer: false,
      size: { services: 1000, pods: 10_000, nodes: 100 },
      rate: 50,
      seconds: 20,
      nodeFlags: [],
    });
  });

  it('takes every option', () => {
    const argv =
      '--services 1 --pods 2 --nodes 3 --rate 4 --seconds 5 --node-flags --cpu-prof,--x --api-server';
    expect(parseControllerBenchOptions(argv.replace('--node-flags ', '--node-flags=').split(' '))).toEqual({
      help: false,
      simulate: false,
      apiServer: true,
      size: { services: 1, pods: 2, nodes: 3 },
      rate: 4,
      seconds: 5,
      nodeFlags: ['--cpu-prof', '--x'],
    });
  });

  it.each([['0'], ['-1'], ['1.5'], ['many'], ['1000000'], ['']])('refuses --pods %j', (value) => {
    expect(() => parseControllerBenchOptions([`--pods=${value}`])).toThrow(/--pods takes a whole number/);
  });

  it('refuses what it does not know, and what makes no sense together', () => {
    expect(() => parseControllerBenchOptions(['--fast'])).toThrow(/--fast/);
    expect(() => parseControllerBenchOptions(['--simulate', '--api-server'])).toThrow(/exclude each other/);
  });

  it('names every option in the usage', () => {
    const names = ['services', 'pods', 'nodes', 'rate', 'seconds', 'node-flags', 'api-server', 'simulate'];
    expect(names.filter((name) => !controllerUsage.includes(`--${name}`))).toEqual([]);
  });
});
