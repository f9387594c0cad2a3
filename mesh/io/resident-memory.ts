// Gives memory back that only the start needed: garbage and code that V8 keeps, freed blocks that malloc keeps, and pages
// of the program and its libraries that are mapped but not used any more. Nothing is lost: the kernel maps a page of a file
// again when it is touched (some microseconds, from the page cache). For long-running programs, once. Linux with glibc.

import { readFileSync } from 'node:fs';
import koffi from 'koffi';

const libc = koffi.load('libc.so.6');
const mallopt = libc.func('int mallopt(int parameter, int value)') as (
  parameter: number,
  value: number,
) => number;
const mallocTrim = libc.func('int malloc_trim(size_t pad)') as (pad: number) => number;
const madvise = libc.func('int madvise(uintptr_t address, size_t length, int advice)') as (
  address: number,
  length: number,
  advice: number,
) => number;
const M_ARENA_MAX = -8;
const MADV_DONTNEED = 4;

interface Mapping {
  readonly address: number;
  readonly length: number;
}

/**
 * Caps the arenas of malloc, of which each thread would get one of its own that never shrinks; glibc's default is 8 for
 * each core. Applies to threads that have not allocated yet, so call it before the first worker starts.
 */
export function limitMallocArenas(count: number): void {
  mallopt(M_ARENA_MAX, count);
}

/**
 * Collects the calling thread's heap down to what is in use, with bytecode that has not run lately: some 30 ms for a heap of
 * 20 MB. Does nothing where node was not started with `--expose-gc`.
 */
export function compactHeap(): void {
  globalThis.gc?.({ type: 'major', execution: 'sync', flavor: 'last-resort' });
}

/** Of the whole process, but the heap of the calling thread only. */
export function releaseStartupMemory(): void {
  compactHeap();
  mallocTrim(0);
  for (const { address, length } of cleanFileMappings(readFileSync('/proc/self/smaps', 'utf8'))) {
    madvise(address, length, MADV_DONTNEED);
  }
}

/**
 * The read-only mappings of files, from /proc/self/smaps, that hold nothing but pages of the file. A mapping with private
 * pages of its own (relocations) is left alone: those exist nowhere else.
 */
export function cleanFileMappings(smaps: string): Mapping[] {
  const found: Mapping[] = [];
  let mapping: Mapping | undefined;
  for (const line of smaps.split('\n')) {
    const header = /^([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ \S+ +(.*)$/.exec(line);
    if (header !== null) {
      const [, start = '', end = '', access = '', path = ''] = header;
      const address = Number.parseInt(start, 16);
      const readOnly = access === 'r-xp' || access === 'r--p';
      mapping =
        readOnly && path.startsWith('/')
          ? { address, length: Number.parseInt(end, 16) - address }
          : undefined;
    }
    if (mapping !== undefined && /^Anonymous: +0 kB$/.test(line)) found.push(mapping);
  }
  return found;
}
