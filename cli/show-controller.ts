// What the controller of this machine thinks of the configuration: files with problems and objects with bad conditions.
// A node of several machines has no controller beside it, and that is no fault.

import { allConditions, isBadCondition, type ObjectStatus } from '../controller/translate/statuses.ts';
import { askAdmin } from './admin-client.ts';
import { CliError } from './cli-error.ts';
import type { CliOutput } from './run-cli.ts';

interface FileProblem {
  /** As in the controller's log: file, line, severity, message. */
  readonly text: string;
}

/** Prints the report. @throws CliError failed when what answers is no controller */
export async function showController(admin: string, output: CliOutput): Promise<void> {
  let answers: readonly [problems: string, statuses: string];
  try {
    answers = [
      await askAdmin(admin, '/debug/problems', { program: 'controller' }),
      await askAdmin(admin, '/statuses', { program: 'controller' }),
    ];
  } catch (error) {
    if (!(error instanceof CliError)) throw error;
    output.out(`controller     none answers at ${admin}\n`);
    return;
  }
  const problems = parseList<FileProblem>(answers[0]).map(({ text }) => text);
  const lines = [...problems, ...parseList<ObjectStatus>(answers[1]).flatMap(badConditions)];
  output.out(`controller     ${lines.length === 0 ? 'accepts every object' : 'has something to say'}\n`);
  for (const line of lines) output.out(`  ✗ ${line}\n`);
}

function badConditions(status: ObjectStatus): string[] {
  const { kind, namespace, name } = status;
  const object = `${kind} ${namespace === '' ? name : `${namespace}/${name}`}`;
  return allConditions(status)
    .filter(isBadCondition)
    .map(({ type, status: value, reason, message }) => `${object}: ${type} ${value} (${reason}): ${message}`);
}

function parseList<T>(body: string): readonly T[] {
  try {
    const list: unknown = JSON.parse(body);
    if (Array.isArray(list)) return list as T[];
  } catch {
    // Said below.
  }
  throw new CliError('failed', "The controller's admin port answered with something that is no list");
}
