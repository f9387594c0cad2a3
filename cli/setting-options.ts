// Options of a command from the table of settings of a program: one for each, rarely changed ones in a section of their
// own. They are checked by the program's own rules, environment included, before anything is started.

import { type Command, Option } from 'commander';
import type { FlagValues, Setting, SettingTable } from '../mesh/runtime/settings.ts';
import { CliError } from './cli-error.ts';

type Checked = { readonly ok: true } | { readonly ok: false; readonly problems: readonly string[] };

/** Adds the options; returns how to get the flags that were given, for the command's action. */
export function addSettings(command: Command, table: SettingTable): () => FlagValues {
  const options = Object.entries(table).map(([name, setting]) => [name, optionOf(name, setting)] as const);
  for (const [, option] of options) command.addOption(option);
  return () =>
    Object.fromEntries(
      options.map(([name, option]) => [name, command.getOptionValue(option.attributeName())]),
    );
}

/** @throws CliError usage with all problems */
export function assertSettings<T extends Checked>(
  command: Command,
  checked: T,
): asserts checked is T & { ok: true } {
  if (checked.ok) return;
  throw new CliError(
    'usage',
    `${checked.problems.join('\n       ')}\n       (see weft ${command.name()} --help)`,
  );
}

function optionOf(name: string, setting: Setting<unknown>): Option {
  const { placeholder, presence, advanced } = setting;
  const value = presence === 'list' ? `<${placeholder}...>` : `<${placeholder}>`;
  const option = new Option(`--${name} ${value}`, `${setting.description}${note(setting)}`);
  return advanced ? option.helpGroup('Advanced options:') : option;
}

function note({ presence, shownFallback }: Setting<unknown>): string {
  if (presence === 'required') return ' (required)';
  return shownFallback === undefined ? '' : ` (default: ${shownFallback})`;
}
