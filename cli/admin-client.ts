// Asks the ztunnel or the controller of this machine on its admin port, and has the controller change something. Local
// only: the ports are bound to the loopback address.

import { CliError } from './cli-error.ts';

export const defaultAdminUrl = 'http://127.0.0.1:15000';
export const defaultControllerAdminUrl = 'http://127.0.0.1:15014';
const timeoutMs = 5000;

export interface AdminRequest {
  /** Who is expected to answer; default the ztunnel. */
  readonly program?: 'ztunnel' | 'controller';
  /** Given for what changes something. */
  readonly secret?: string;
}

/**
 * The body of an answer with status 200. Throws CliError `failed` when what was asked for cannot be done now, and
 * `unreachable`, with what to look at, otherwise.
 */
export async function askAdmin(url: string, path: string, request: AdminRequest = {}): Promise<string> {
  const { program = 'ztunnel', secret } = request;
  const change =
    secret === undefined ? {} : { method: 'POST', headers: { authorization: `Bearer ${secret}` } };
  let response: Response;
  try {
    response = await fetch(new URL(path, url), { signal: AbortSignal.timeout(timeoutMs), ...change });
  } catch (error) {
    const reason = describe(error);
    throw new CliError(
      'unreachable',
      `No ${program} answers at ${url} (${reason}); is it running on this machine and in this network namespace?`,
      { cause: error },
    );
  }
  const body = await response.text();
  if (response.status === 409) throw new CliError('failed', body.trim());
  if (!response.ok) {
    throw new CliError(
      'unreachable',
      `${url}${path} answered with status ${response.status}: ${body.trim().slice(0, 200)}`,
    );
  }
  return body;
}

/** fetch hides the reason in the cause. */
function describe(error: unknown): string {
  const cause = (error as Error).cause as NodeJS.ErrnoException | undefined;
  return cause?.code ?? cause?.message ?? (error as Error).message;
}
