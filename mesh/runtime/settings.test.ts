import { describe, expect, it } from 'vitest';
import {
  anyText,
  type FlagValues,
  list,
  oneOf,
  optional,
  readCommandLine,
  readSettings,
  required,
  variableOf,
  wholeNumber,
  withDefault,
} from './settings.ts';

const table = {
  node: required(anyText('a name'), { placeholder: 'name', description: 'name of this node' }),
  workers: withDefault(wholeNumber(1, 64), 1, { placeholder: 'count', description: 'data threads' }),
  'on-exit': withDefault(oneOf('keep', 'release'), 'keep', {
    placeholder: 'what',
    description: 'at the end',
  }),
  'pin-dir': optional(anyText('a directory'), { placeholder: 'dir', description: 'where' }),
  also: list(anyText('a name'), { placeholder: 'name', description: 'further names' }),
};

function read(flags: FlagValues, environment: Record<string, string> = {}) {
  return readSettings(table, { flags, environment });
}

describe('readSettings()', () => {
  it('has a default for what is not given, and freezes the result', () => {
    const result = read({ node: 'a' });
    const values = { node: 'a', workers: 1, 'on-exit': 'keep', 'pin-dir': undefined, also: [] };
    expect(result).toEqual({ ok: true, values });
    expect(result.ok && Object.isFrozen(result.values)).toBe(true);
  });

  it('takes a flag before the environment, and that before the default', () => {
    const environment = { WEFT_NODE: 'b', WEFT_WORKERS: '2', WEFT_ON_EXIT: 'release', WEFT_ALSO: 'x,y' };
    expect(read({ workers: '3' }, environment)).toMatchObject({
      values: { node: 'b', workers: 3, 'on-exit': 'release', also: ['x', 'y'] },
    });
    expect(read({ node: 'a', also: ['z'] }, environment)).toMatchObject({ values: { also: ['z'] } });
  });

  it('takes an empty variable for none', () => {
    expect(read({ node: 'a' }, { WEFT_WORKERS: '' })).toMatchObject({ values: { workers: 1 } });
  });

  it('reports everything that is wrong at once: what it must be, what it is, and where it came from', () => {
    expect(read({ 'on-exit': 'kep', also: ['x', ''] }, { WEFT_WORKERS: 'abc' })).toEqual({
      ok: false,
      problems: [
        '--node (or WEFT_NODE) is required: name of this node',
        'WEFT_WORKERS must be a whole number from 1 to 64, got "abc"',
        '--on-exit must be one of keep, release, got "kep"',
        '--also must be a name, got "x", ""',
      ],
    });
  });

  it.each(['', '0', '65', '1.5', '-1', '0x1', ' 1', '1e1', '99999999999999999999'])(
    'takes %j for no whole number from 1 to 64',
    (workers) => expect(read({ node: 'a', workers }).ok).toBe(false),
  );
});

describe('readCommandLine()', () => {
  it('reads flags, lists given several times', () => {
    const args = ['--node', 'a', '--workers=2', '--also', 'x', '--also', 'y'];
    expect(readCommandLine(table, { args, environment: {} })).toMatchObject({
      values: { node: 'a', workers: 2, also: ['x', 'y'] },
    });
  });

  it('names a flag that does not exist', () => {
    const result = readCommandLine(table, { args: ['--nod', 'a'], environment: {} });
    expect(result.ok ? [] : result.problems).toEqual([expect.stringContaining("'--nod'")]);
  });
});

describe('variableOf()', () => {
  it('is WEFT_ and the name in capitals', () => expect(variableOf('pin-dir')).toBe('WEFT_PIN_DIR'));
});
