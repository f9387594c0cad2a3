// Swaps two files in one step: renameat2(2) with RENAME_EXCHANGE (Linux 3.15), which Node does not offer. What was in the
// place is in the other one afterwards, so nobody's change in between can be lost unseen.

import koffi from 'koffi';
import { describeErrno, errno } from './libc.ts';

const AT_FDCWD = -100;
const RENAME_EXCHANGE = 2;

const renameat2 = koffi
  .load('libc.so.6')
  .func('int renameat2(int olddir, const char* old, int newdir, const char* new, uint32 flags)') as (
  oldDirectory: number,
  oldPath: string,
  newDirectory: number,
  newPath: string,
  flags: number,
) => number;

/** Both must be there, on one file system. Throws where the file system can not do it. */
export function exchangeFiles(a: string, b: string): void {
  if (renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE) === 0) return;
  throw new Error(`Could not exchange "${a}" with "${b}": ${describeErrno(errno())}`);
}
