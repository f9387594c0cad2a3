// What a test must give back: descriptors of this process, and resident memory.

import { readdirSync, readFileSync } from 'node:fs';

/** Open descriptors of this process that are sockets, event loops or event counters. */
export function openDescriptors(): number {
  return readdirSync('/proc/self/fd').length;
}

/** Resident bytes of this process, from /proc/self/statm (field 2, in 4 KiB pages on x86-64 and arm64). */
export function residentBytes(): number {
  return Number(readFileSync('/proc/self/statm', 'latin1').split(' ')[1]) * 4096;
}
