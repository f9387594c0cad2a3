// Follows a log file that another process writes: awaits a line, collects what was written. Wakes by file events, so
// nothing is polled; the file outlives both sides.

import { type FSWatcher, readFileSync, watch } from 'node:fs';
import { LabError } from './lab-error.ts';

export class LogFile {
  readonly path: string;

  constructor(path: string) {
    this.path = path;
  }

  /** Everything written so far; empty when the file is gone with its lab. */
  text(): string {
    try {
      return readFileSync(this.path, 'utf8');
    } catch {
      return '';
    }
  }

  /** Complete lines from `offset` (a length of text() taken earlier) on. */
  lines(offset = 0): string[] {
    return this.text().slice(offset).split('\n').slice(0, -1);
  }

  /** The present length, to look later only at what came after. */
  mark(): number {
    return this.text().length;
  }

  /**
   * The first line from `options.from` on that matches. Throws LabError `timeout` after `options.timeoutMs` (default
   * 10 s), with the last lines in the message, and the reason of `options.signal` when that aborts first.
   */
  async waitFor(
    pattern: RegExp,
    options: { readonly from?: number; readonly timeoutMs?: number; readonly signal?: AbortSignal } = {},
  ): Promise<string> {
    const timeoutMs = options.timeoutMs ?? 10_000;
    const find = (): string | undefined => this.lines(options.from).find((line) => pattern.test(line));
    let watcher: FSWatcher | undefined;
    let timer: NodeJS.Timeout | undefined;
    let onAbort: (() => void) | undefined;
    try {
      return await new Promise<string>((resolve, reject) => {
        const look = (): void => {
          const line = find();
          if (line !== undefined) resolve(line);
        };
        onAbort = () => {
          const line = find();
          if (line === undefined) reject(options.signal?.reason as Error);
          else resolve(line);
        };
        watcher = watch(this.path, look);
        timer = setTimeout(() => reject(this.#timeoutError(pattern, timeoutMs)), timeoutMs);
        options.signal?.addEventListener('abort', onAbort);
        if (options.signal?.aborted) onAbort();
        look();
      });
    } finally {
      watcher?.close();
      clearTimeout(timer);
      if (onAbort !== undefined) options.signal?.removeEventListener('abort', onAbort);
    }
  }

  #timeoutError(pattern: RegExp, timeoutMs: number): LabError {
    const tail = this.lines().slice(-8).join('\n');
    return new LabError(
      'timeout',
      `No line like ${pattern} in ${this.path} within ${timeoutMs} ms; it ends:\n${tail}`,
    );
  }
}
