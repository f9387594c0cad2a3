// Options a command cannot do without. Commander's own check comes before it looks at unknown options, so a misspelt
// `--confg` would be answered with "--config is missing" instead of the word that was meant; this one comes after.

import { type Command, Option } from 'commander';
import { CliError } from './cli-error.ts';

/** Adds an option that must be given; `parse` makes the value or throws InvalidArgumentError. */
export function requiredOption(
  command: Command,
  flags: string,
  options: { readonly description: string; readonly parse?: (text: string) => unknown },
): void {
  const option = new Option(flags, `${options.description} (required)`);
  if (options.parse !== undefined) option.argParser(options.parse);
  command.addOption(option);
  command.hook('preAction', () => {
    if (command.getOptionValue(option.attributeName()) !== undefined) return;
    throw new CliError(
      'usage',
      `Option "${flags}" is missing: ${options.description}; see weft ${command.name()} --help`,
    );
  });
}
