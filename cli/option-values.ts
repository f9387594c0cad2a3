// Parsers of option values, for commander: each returns the value or throws with what a right one looks like.

import { isIP } from 'node:net';
import { InvalidArgumentError } from 'commander';

/** A number of seconds from 1 up. */
export function seconds(text: string): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || value < 1)
    throw new InvalidArgumentError('It must be a whole number of seconds from 1 up.');
  return value;
}

/** `IP:PORT`, an IPv6 address in brackets. */
export function listenAddress(text: string): string {
  const { host, port } = splitPort(text);
  if (isIP(host) === 0 || !isPort(port)) {
    throw new InvalidArgumentError('It must be IP:PORT, for example 127.0.0.1:15012 or [::1]:15012.');
  }
  return text;
}

/** `HOST:PORT`. */
export function hostPort(text: string): string {
  const { host, port } = splitPort(text);
  if (host === '' || !isPort(port)) {
    throw new InvalidArgumentError('It must be HOST:PORT, for example controller.example:15012.');
  }
  return text;
}

/** An http URL without a path. */
export function baseUrl(text: string): string {
  const url = URL.parse(text);
  if (url?.protocol !== 'http:')
    throw new InvalidArgumentError('It must be an http URL, for example http://127.0.0.1:15000.');
  return url.origin;
}

function splitPort(text: string): { host: string; port: string } {
  const bracketed = /^\[([^\]]*)\]:(\d+)$/.exec(text);
  const plain = bracketed ?? /^([^:]*):(\d+)$/.exec(text);
  return { host: plain?.[1] ?? '', port: plain?.[2] ?? '' };
}

function isPort(text: string): boolean {
  const port = Number(text);
  return text !== '' && port >= 1 && port <= 65_535;
}
