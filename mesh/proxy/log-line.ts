// One access-log line in the form of the Istio ztunnel (WIRE.md 7): a few fixed columns, then fields in the order given,
// absent ones left out. Pure: fields in, text with a newline out. A proxy writes one for each request, so a line is one
// string that grows, and nothing is made that it does not need.

import type { MeshConfig } from '../model/mesh-config.ts';

export type AccessLogFormat = 'text' | 'json';
export type LogLevel = 'info' | 'warn' | 'error';

/** Bare values are addresses and numbers; `quoted` ones come from outside and are escaped. */
export type LogField = readonly [name: string, value: string | number | undefined, how: 'bare' | 'quoted'];

export interface LineFormat {
  /** Wall clock, ms. */
  readonly endedAt: number;
  readonly format: AccessLogFormat;
}

export class LogLine {
  readonly #json: boolean;
  #text: string;
  #separator: string;

  constructor(level: LogLevel, message: string, { endedAt, format }: LineFormat) {
    const time = isoTime(endedAt);
    this.#json = format === 'json';
    this.#separator = this.#json ? ',' : '';
    this.#text = this.#json
      ? `{"level":"${level}","time":"${time}","scope":"access","message":"${message}"`
      : `${time}\t${level}\taccess\t${message}\t`;
  }

  /** A value of our own making: an address, a number, a name. Nothing is written for undefined and `''`. */
  bare(name: string, value: string | number | undefined): this {
    if (value === undefined || value === '') return this;
    if (this.#json) this.#text += `,"${name}":${typeof value === 'number' ? value : quote(value)}`;
    else this.#text += `${this.#separator}${name}=${value}`;
    if (!this.#json) this.#separator = ' ';
    return this;
  }

  /** A value that somebody else made: escaped. */
  quoted(name: string, value: string | number | undefined): this {
    if (value === undefined || value === '') return this;
    const text = typeof value === 'number' ? `${value}` : quote(value);
    if (this.#json) this.#text += `,"${name}":${text}`;
    else this.#text += `${this.#separator}${name}=${text}`;
    if (!this.#json) this.#separator = ' ';
    return this;
  }

  /** With the line feed. */
  end(): string {
    return this.#json ? `${this.#text}}\n` : `${this.#text}\n`;
  }
}

/** `endedAt` is wall-clock ms. */
export function formatLogLine(
  { level, message }: { readonly level: LogLevel; readonly message: string },
  fields: readonly LogField[],
  options: LineFormat,
): string {
  const line = new LogLine(level, message, options);
  for (const [name, value, how] of fields) {
    if (how === 'bare') line.bare(name, value);
    else line.quoted(name, value);
  }
  return line.end();
}

/** Whether MeshConfig wants the line. */
export function isLogged(mode: MeshConfig['accessLog'], failed: boolean): boolean {
  return mode === 'all' || (mode === 'failures' && failed);
}

/** Printable ASCII without quotes and backslashes is its own JSON. */
const plain = /^[ !#-[\]-~]*$/;

function quote(text: string): string {
  return plain.test(text) ? `"${text}"` : JSON.stringify(text);
}

let lastMs = Number.NaN;
let lastText = '';

/** Lines come several to a millisecond. */
export function isoTime(ms: number): string {
  const whole = Math.trunc(ms);
  if (whole !== lastMs) {
    lastMs = whole;
    lastText = new Date(whole).toISOString();
  }
  return lastText;
}
