// Logs of every process: pino with a fixed component, JSON or a plain line in the form Istio's tools know
// (`time TAB level TAB scope TAB message TAB key=value ...`), on stdout as the access log is. The keys are Istio's: level, time,
// scope (the component), message. Writes are synchronous, because a data worker never returns to Node's event loop.
// Level and loggers belong to one thread; each worker makes its own.

import { type DestinationStream, destination as openDestination, type Logger, levels, pino } from 'pino';

export type { Logger } from 'pino';

export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal' | 'silent';

export interface LoggerOptions {
  /** Name of the part that speaks, for example `access` or `xds.client`. */
  readonly component: string;
  /** Default: the level set last by setLogLevel, at first `info`. */
  readonly level?: LogLevel;
  /** Default `json`. */
  readonly format?: 'json' | 'text';
  /** Default standard output; a stream of the caller's own is for tests. */
  readonly destination?: DestinationStream;
}

let standardOutput: DestinationStream | undefined;
const loggers = new Set<Logger>();
let currentLevel: LogLevel = 'info';

/** One logger a component and thread: it is kept for setLogLevel, so never make one per connection. */
export function createLogger({ component, level, format = 'json', destination }: LoggerOptions): Logger {
  const output = destination ?? openStandardOutput();
  const logger = pino(
    {
      level: level ?? currentLevel,
      base: null,
      messageKey: 'message',
      timestamp: () => `,"time":"${new Date().toISOString()}","scope":${JSON.stringify(component)}`,
      formatters: { level: (label) => ({ level: label }) },
    },
    format === 'text' ? { write: (json) => output.write(formatLine(json)) } : output,
  );
  loggers.add(logger);
  return logger;
}

/** Changes the level of every logger of this thread, present and future; throws RangeError for an unknown level. */
export function setLogLevel(level: LogLevel): void {
  if (!isLogLevel(level)) throw new RangeError(`Unknown log level "${String(level)}"`);
  currentLevel = level;
  for (const logger of loggers) logger.level = level;
}

export function logLevel(): LogLevel {
  return currentLevel;
}

export function isLogLevel(text: string): text is LogLevel {
  return text === 'silent' || Object.hasOwn(levels.values, text);
}

function openStandardOutput(): DestinationStream {
  standardOutput ??= openDestination({ dest: 1, sync: true });
  return standardOutput;
}

function formatLine(json: string): string {
  const { time, level, scope, message = '', ...fields } = JSON.parse(json) as Record<string, unknown>;
  const pairs = Object.entries(fields).map(([key, value]) => `${key}=${formatValue(key, value)}`);
  const head = `${time}\t${level}\t${scope}\t${oneLine(String(message))}`;
  return pairs.length === 0 ? `${head}\n` : `${head}\t${pairs.join(' ')}\n`;
}

/** Addresses stand bare and other strings quoted, as the Istio ztunnel prints them; an error is its message. */
function formatValue(key: string, value: unknown): string {
  if (typeof value === 'string' && key.endsWith('addr') && /^[\w.:[\]-]+$/.test(value)) return value;
  if (key === 'err' && typeof value === 'object' && value !== null && 'message' in value) {
    return JSON.stringify(value.message);
  }
  return JSON.stringify(value);
}

/** A message with data from outside must not be able to start a line of its own. */
function oneLine(text: string): string {
  return text.replaceAll(/\p{Cc}/gu, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`);
}
