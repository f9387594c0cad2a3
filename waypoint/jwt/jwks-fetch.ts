// Fetches a JWK set by URL: one GET, no redirect, within a time and a size.

import { JwksError } from './jwks-error.ts';

export interface FetchLimits {
  readonly timeoutMs: number;
  readonly maxBytes: number;
}

/** Real sets have a few kilobytes; 5 s is what somebody waits for an answer. */
export const defaultFetchLimits: FetchLimits = { timeoutMs: 5_000, maxBytes: 512 * 1024 };

/** @throws JwksError url-refused, unreachable, status, too-large */
export async function fetchText(url: string, { timeoutMs, maxBytes }: FetchLimits): Promise<string> {
  checkUrl(url);
  const signal = AbortSignal.timeout(timeoutMs);
  const response = await get(url, signal);
  if (response.status !== 200) {
    await response.body?.cancel();
    throw new JwksError('status', `"${url}" answered ${response.status}`);
  }
  return read(response, { url, maxBytes });
}

function checkUrl(url: string): void {
  const parsed = URL.parse(url);
  if (parsed === null || !['http:', 'https:'].includes(parsed.protocol))
    throw new JwksError('url-refused', `"${url}" is no http or https URL`);
  if (parsed.username !== '' || parsed.password !== '')
    throw new JwksError('url-refused', 'A URL with credentials in it is not fetched');
}

async function get(url: string, signal: AbortSignal): Promise<Response> {
  try {
    const headers = { accept: 'application/jwk-set+json, application/json' };
    return await fetch(url, { redirect: 'error', signal, headers });
  } catch (error) {
    throw unreachable(url, error);
  }
}

async function read(
  response: Response,
  { url, maxBytes }: { readonly url: string; readonly maxBytes: number },
): Promise<string> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  try {
    for await (const chunk of response.body ?? []) {
      length += chunk.length;
      // Leaving the loop cancels the rest.
      if (length > maxBytes)
        throw new JwksError('too-large', `"${url}" answered more than ${maxBytes} octets`);
      chunks.push(chunk);
    }
  } catch (error) {
    throw error instanceof JwksError ? error : unreachable(url, error);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function unreachable(url: string, error: unknown): JwksError {
  const { name, message, cause } = error as Error;
  const why =
    name === 'TimeoutError' ? 'no answer in time' : cause instanceof Error ? cause.message : message;
  return new JwksError('unreachable', `"${url}" can not be read: ${why}`, { cause: error });
}
