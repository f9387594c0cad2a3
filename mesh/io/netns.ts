// Runs a piece of code inside another network namespace. A namespace belongs to the calling thread, so the code must
// be synchronous; the thread is back in its own namespace before the call returns, whatever happened.

import { closeSync, openSync } from 'node:fs';
import koffi from 'koffi';
import * as libc from './libc.ts';

const CLONE_NEWNET = 0x40000000;

const setns = koffi.load('libc.so.6').func('int setns(int fd, int type)') as (
  fd: number,
  type: number,
) => number;

export type NetnsErrorCode = 'not-found' | 'not-permitted' | 'asynchronous';

export class NetnsError extends Error {
  readonly code: NetnsErrorCode;

  constructor(code: NetnsErrorCode, message: string, options?: { readonly cause?: unknown }) {
    super(message, options?.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'NetnsError';
    this.code = code;
  }
}

/** This thread's own namespace; opened at the first use and kept for the thread's life. */
let home: number | undefined;
let current: number | undefined;

/**
 * Runs `run` in the namespace at `path` (for example `/run/netns/web-1`). Calls may nest.
 * @throws NetnsError not-found, not-permitted (needs CAP_SYS_ADMIN), asynchronous (`run` returned a promise: what
 * comes after its first await would run in the wrong namespace)
 */
export function withNetns<T>(path: string, run: () => T): T {
  const fd = openNetns(path);
  try {
    return withNetnsFd(fd, run);
  } finally {
    closeSync(fd);
  }
}

/** As `withNetns`, for a namespace that the caller holds open: two system calls less. */
export function withNetnsFd<T>(fd: number, run: () => T): T {
  // /proc/self is the main thread, whichever thread asks.
  home ??= openSync('/proc/thread-self/ns/net', 'r');
  const before = current ?? home;
  enter(fd);
  current = fd;
  try {
    return synchronous(run());
  } finally {
    current = before;
    goBack(before);
  }
}

/** A descriptor of the namespace at `path`. It keeps the namespace alive until it is closed. @throws NetnsError */
export function openNetns(path: string): number {
  try {
    return openSync(path, 'r');
  } catch (cause) {
    throw new NetnsError(
      'not-found',
      `Could not open network namespace "${path}": the pod may be gone, or its path is not visible in this mount namespace`,
      { cause },
    );
  }
}

function enter(fd: number): void {
  if (setns(fd, CLONE_NEWNET) === 0) return;
  const code = libc.errno();
  throw new NetnsError(
    'not-permitted',
    `Could not enter a network namespace: ${libc.describeErrno(code)}; it needs CAP_SYS_ADMIN and a network namespace file`,
  );
}

/** A thread left in a pod's namespace would send other pods' traffic from there: better no process at all. */
function goBack(fd: number): void {
  if (setns(fd, CLONE_NEWNET) !== 0) process.kill(process.pid, 'SIGKILL');
}

function synchronous<T>(result: T): T {
  if (typeof (result as { then?: unknown } | undefined)?.then === 'function') {
    throw new NetnsError(
      'asynchronous',
      'Could not run a promise in a network namespace: it must be synchronous',
    );
  }
  return result;
}
