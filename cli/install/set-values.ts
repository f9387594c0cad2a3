// `--set key=value`, as often as needed, beside the flags that are short for some of them. Everything wrong is told at
// once; an unknown key with the nearest one there is.

import { nearestWord } from '../../controller/source/nearest-word.ts';
import { type FlagValues, readSettings } from '../../mesh/runtime/settings.ts';
import { CliError } from '../cli-error.ts';
import { type InstallSettings, installSettings } from './settings.ts';

/**
 * @param pairs each `key=value`
 * @param flags by key, where given
 * @throws CliError usage
 */
export function installSettingsOf(pairs: readonly string[], flags: FlagValues): InstallSettings {
  const problems: string[] = [];
  const values = new Map(Object.entries(flags).filter(([, value]) => value !== undefined));
  for (const pair of pairs) {
    const [, key, value = ''] = /^([^=]*)=([^]*)$/.exec(pair) ?? [];
    const problem = key === undefined ? `--set takes key=value, got "${pair}"` : problemWith(key, values);
    if (problem !== undefined) problems.push(problem);
    else if (key !== undefined) values.set(key, isList(key) ? [values.get(key) ?? [], value].flat() : value);
  }
  const read = readSettings(installSettings, { flags: Object.fromEntries(values), environment: {} });
  if (!read.ok) problems.push(...read.problems.map((problem) => nameFlag(problem, flags)));
  if (problems.length > 0 || !read.ok) {
    throw new CliError('usage', `${problems.join('\n       ')}\n       (see weft install --help)`);
  }
  return read.values;
}

function problemWith(key: string, values: ReadonlyMap<string, unknown>): string | undefined {
  const keys = Object.keys(installSettings);
  if (!keys.includes(key)) {
    const nearest = nearestWord(key, keys);
    const hint = nearest === undefined ? `the keys are ${keys.join(', ')}` : `did you mean ${nearest}?`;
    return `--set has no key "${key}"; ${hint}`;
  }
  return values.has(key) && !isList(key) ? `"${key}" is given more than once` : undefined;
}

function isList(key: string): boolean {
  return installSettings[key as keyof typeof installSettings].presence === 'list';
}

/** Settings are named `--key`; what came by --set is named as it was written. */
function nameFlag(problem: string, flags: FlagValues): string {
  return problem.replace(/^--([a-z-]+)/, (text, key: string) =>
    flags[key] === undefined ? `--set ${key}` : text,
  );
}
