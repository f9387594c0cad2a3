// The join tokens of a controller's state directory, for the token commands. The running controller reads the same
// files at each call, so nothing has to be told.

import { bearerName, JoinTokens } from '../controller/identity/join-tokens.ts';
import { systemClock } from '../mesh/runtime/clock.ts';
import { CliError } from './cli-error.ts';
import type { CliOutput } from './run-cli.ts';

/** The token's text. @throws CliError */
export function createToken(
  bearer: { readonly node: string } | { readonly waypoint: string },
  options: { state: string; lifetime?: number },
): Promise<string> {
  const { state, lifetime } = options;
  const life = lifetime === undefined ? {} : { lifeSeconds: lifetime };
  return withTokens(state, async (tokens) => {
    const made =
      'node' in bearer
        ? await tokens.create(bearer.node, life)
        : await tokens.createForWaypoint(bearer.waypoint, life);
    return made.token;
  });
}

/** @throws CliError */
export async function listTokens(state: string, output: CliOutput): Promise<void> {
  const { tokens, unusable } = await withTokens(state, (stored) => stored.list());
  for (const { id, bearer, expiresAt } of tokens) {
    const word = expiresAt > systemClock.now() ? 'until' : 'expired';
    const name = bearer.kind === 'node' ? bearer.node : `waypoint ${bearerName(bearer)}`;
    output.out(`${id}  ${name.padEnd(24)}  ${word.padEnd(7)} ${new Date(expiresAt).toISOString()}\n`);
  }
  if (tokens.length === 0) output.err(`No join tokens in "${state}"\n`);
  for (const file of unusable) output.err(`Not a usable record: ${file}\n`);
}

/** @throws CliError failed if there is none */
export async function revokeToken(id: string, state: string): Promise<void> {
  if (await withTokens(state, (tokens) => tokens.revoke(id))) return;
  throw new CliError(
    'failed',
    `There is no token "${id}" in "${state}"; "weft token list" shows those there are`,
  );
}

async function withTokens<T>(stateDir: string, work: (tokens: JoinTokens) => Promise<T>): Promise<T> {
  try {
    return await work(new JoinTokens({ stateDir, clock: systemClock }));
  } catch (error) {
    const { message } = error as Error;
    if (error instanceof RangeError) throw new CliError('usage', message, { cause: error });
    throw new CliError('failed', `Could not use the tokens in "${stateDir}": ${message}`, { cause: error });
  }
}
