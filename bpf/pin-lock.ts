// Who may change what is pinned: processes of one instance overlap during an upgrade, and each change is several steps.
// A lock on the pin directory, held for the milliseconds of one change. The kernel lets go of it when a process dies.

import { closeSync, openSync } from 'node:fs';
import * as libc from '../mesh/io/libc.ts';
import { BpfError, systemError } from './bpf-error.ts';

/** A change takes milliseconds; whoever holds the lock longer hangs. */
const patienceMs = 5_000;
const pollMs = 2;
const sleeper = new Int32Array(new SharedArrayBuffer(4));

export class PinLock {
  #fd: number;
  #path: string;

  /** @param path of a directory that exists */
  constructor(path: string) {
    this.#path = path;
    this.#fd = openSync(path, 'r');
  }

  /** Runs `change` while no other process runs one. Blocks the thread meanwhile. @throws BpfError pin-failed */
  exclusively<T>(change: () => T): T {
    this.#acquire();
    try {
      return change();
    } finally {
      libc.flock(this.#fd, libc.LOCK_UN);
    }
  }

  close(): void {
    closeSync(this.#fd);
  }

  #acquire(): void {
    for (let waitedMs = 0; libc.flock(this.#fd, libc.LOCK_EX | libc.LOCK_NB) !== 0; waitedMs += pollMs) {
      const code = libc.errno();
      if (code !== libc.EAGAIN) throw systemError('pin-failed', `Could not lock "${this.#path}"`, code);
      if (waitedMs >= patienceMs) {
        throw new BpfError(
          'pin-failed',
          `Could not lock "${this.#path}": another process has held it for ${patienceMs} ms`,
        );
      }
      Atomics.wait(sleeper, 0, 0, pollMs);
    }
  }
}
