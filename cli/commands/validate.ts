// `weft validate`: checks a directory of manifests exactly as the controller would, without starting anything.

import { resolve } from 'node:path';
import type { Command } from 'commander';
import { CliError } from '../cli-error.ts';
import type { CliContext } from '../run-cli.ts';

export function addValidate(program: Command, context: CliContext): void {
  program
    .command('validate')
    .description(
      'check a directory of manifests as the controller would; exit status 1 when something is wrong',
    )
    .argument('<dir>', 'directory of manifests')
    .addHelpText(
      'after',
      `
Example:
  $ weft validate ./manifests
  manifests/policy.yaml:12:7: error: AuthorizationPolicy shop/cart: spec.rules[0].from: ...`,
    )
    .action(async (directory: string) => {
      const { lines, errors } = await validate(directory);
      for (const line of lines) context.out(`${line}\n`);
      context.err(`${directory}: ${errors === 0 ? 'nothing is wrong' : `${errors} wrong`}\n`);
      context.setStatus(errors === 0 ? 0 : 1);
    });
}

async function validate(
  directory: string,
): Promise<{ readonly lines: readonly string[]; readonly errors: number }> {
  const { validateDirectory } = await import('../../controller/validate.ts');
  const { SourceError } = await import('../../controller/source/directory-error.ts');
  try {
    return await validateDirectory(resolve(directory));
  } catch (error) {
    if (error instanceof SourceError) throw new CliError('failed', error.message, { cause: error });
    throw error;
  }
}
