// Capture that a ztunnel left in the kernel and that none will take over: looked at and ended from another process.

import { readdirSync } from 'node:fs';
import { BpfError } from '../bpf/bpf-error.ts';
import { Redirect } from '../bpf/redirect.ts';

/** @throws BpfError pin-failed when nothing is pinned there, or something else */
export function assertLeftCapture(directory: string): void {
  let entries: readonly string[];
  try {
    entries = readdirSync(directory);
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    const why =
      code === 'ENOENT' ? 'nothing is pinned there, so nothing is captured' : `${code}; are you root?`;
    throw new BpfError('pin-failed', `Could not look into "${directory}": ${why}`, { cause });
  }
  if (!entries.every((name) => /^v\d+$/.test(name)))
    throw new BpfError('pin-failed', `"${directory}" holds something else than the capture of one ztunnel`);
}

/** Its pods speak plain TCP from now on. @throws BpfError */
export function endLeftCapture(directory: string): void {
  assertLeftCapture(directory);
  Redirect.removeInstance(directory);
}
