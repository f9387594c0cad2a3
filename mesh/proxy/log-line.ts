// One access-log line in the form of the Istio ztunnel (WIRE.md 7): a few fixed columns, then fields in the order given,
// absent ones left out. Pure: fields in, text with a newline out.

import type { MeshConfig } from '../model/mesh-config.ts';

export type AccessLogFormat = 'text' | 'json';

/** Bare values are addresses and numbers; `quoted` ones come from outside and are escaped. */
export type LogField = readonly [name: string, value: string | number | undefined, how: 'bare' | 'quoted'];

/** `endedAt` is wall-clock ms. */
export function formatLogLine(
  { level, message }: { readonly level: 'info' | 'warn' | 'error'; readonly message: string },
  fields: readonly LogField[],
  { endedAt, format }: { readonly endedAt: number; readonly format: AccessLogFormat },
): string {
  const time = new Date(endedAt).toISOString();
  let line =
    format === 'json'
      ? `{"level":"${level}","time":"${time}","scope":"access","message":"${message}"`
      : `${time}\t${level}\taccess\t${message}\t`;
  let separator = '';
  for (const [name, value, how] of fields) {
    if (value === undefined || value === '') continue;
    if (format === 'json') {
      line += `,"${name}":${JSON.stringify(value)}`;
    } else {
      line += `${separator}${name}=${how === 'bare' ? value : JSON.stringify(value)}`;
      separator = ' ';
    }
  }
  return format === 'json' ? `${line}}\n` : `${line}\n`;
}

/** Whether MeshConfig wants the line. */
export function isLogged(mode: MeshConfig['accessLog'], failed: boolean): boolean {
  return mode === 'all' || (mode === 'failures' && failed);
}
