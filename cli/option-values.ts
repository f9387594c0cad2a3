// Parsers of option values, for commander: each returns the value or throws with what a right one looks like.

import { InvalidArgumentError } from 'commander';

/** A number of seconds from 1 up. */
export function seconds(text: string): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || value < 1)
    throw new InvalidArgumentError('It must be a whole number of seconds from 1 up.');
  return value;
}

/** An http URL without a path. */
export function baseUrl(text: string): string {
  const url = URL.parse(text);
  if (url?.protocol !== 'http:')
    throw new InvalidArgumentError('It must be an http URL, for example http://127.0.0.1:15000.');
  return url.origin;
}
