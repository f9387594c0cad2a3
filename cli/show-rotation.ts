// The controller's root certificates in a few lines for people, and how to move the rotation on.

import { readAdminSecret } from '../controller/admin-secret.ts';
import { askAdmin } from './admin-client.ts';
import { CliError } from './cli-error.ts';
import type { CliOutput } from './run-cli.ts';

interface Rotation {
  readonly phase: string;
  readonly givenBy?: string;
  readonly signing: string;
  readonly trusted: readonly string[];
  /** Wall clock in ms. */
  readonly nextStepAt?: number;
}

export interface RotateOptions {
  readonly state: string;
  readonly admin: string;
  readonly step: 'start' | 'advance' | 'force';
}

const meanings: Readonly<Record<string, string>> = {
  stable: 'no rotation is under way',
  prepare: 'the new root is trusted, the old one still signs',
  active: 'the new root signs, the old one is still trusted',
};

/** Prints the status. Throws CliError. */
export async function showRotation(admin: string, output: CliOutput): Promise<void> {
  print(await askAdmin(admin, '/certificates', { program: 'controller' }), output);
}

/** Takes the step and prints the new status. Throws CliError. */
export async function rotateRoot({ state, admin, step }: RotateOptions, output: CliOutput): Promise<void> {
  const secret = await readSecret(state);
  print(await askAdmin(admin, `/ca/rotation/${step}`, { program: 'controller', secret }), output);
}

async function readSecret(state: string): Promise<string> {
  let secret: string | undefined;
  try {
    secret = await readAdminSecret(state);
  } catch (error) {
    throw new CliError('failed', (error as Error).message, { cause: error });
  }
  if (secret !== undefined) return secret;
  throw new CliError(
    'failed',
    `"${state}" holds no admin secret; is it the state directory of a controller that has run? Name it with --state`,
  );
}

function print(body: string, output: CliOutput): void {
  const { phase, signing, trusted, nextStepAt, givenBy } = parseRotation(body);
  output.out(`step        ${phase}: ${meanings[phase] ?? 'unknown to this version'}\n`);
  if (givenBy !== undefined) output.out(`given by    ${givenBy}\n`);
  output.out(`signs       ${signing}\n`);
  output.out(`trusted     ${trusted.join(', ')}\n`);
  if (nextStepAt !== undefined)
    output.out(`next step   ${new Date(nextStepAt).toISOString()} or later, by itself\n`);
}

function parseRotation(body: string): Rotation {
  try {
    const rotation = JSON.parse(body) as Partial<Rotation>;
    if (typeof rotation.phase === 'string' && Array.isArray(rotation.trusted)) return rotation as Rotation;
  } catch {
    // Said below.
  }
  throw new CliError('failed', 'The admin port answered with something that is no status of a root rotation');
}
