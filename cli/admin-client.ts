// Asks the ztunnel of this machine on its admin port. Local only: the port is bound to the loopback address.

import { CliError } from './cli-error.ts';

export const defaultAdminUrl = 'http://127.0.0.1:15000';
const timeoutMs = 5000;

/** The body of an answer with status 200; throws CliError `unreachable` with what to look at otherwise. */
export async function askAdmin(url: string, path: string): Promise<string> {
  let response: Response;
  try {
    response = await fetch(new URL(path, url), { signal: AbortSignal.timeout(timeoutMs) });
  } catch (error) {
    const reason = describe(error);
    throw new CliError(
      'unreachable',
      `No ztunnel answers at ${url} (${reason}); is it running on this machine and in this network namespace?`,
      { cause: error },
    );
  }
  const body = await response.text();
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
