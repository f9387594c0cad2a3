// Compiles the CNI plugin for this machine's architecture: `node cni/build.ts FILE`. It is built with the images and never
// committed; it needs gcc and libc's static library (Debian: gcc, libc6-dev).

import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** Writes the program `file`. Throws with the compiler's output if it fails. */
export function buildShim(file: string): void {
  mkdirSync(dirname(file), { recursive: true });
  const flags = ['-static', '-Os', '-s', '-Wall', '-Wextra', '-Werror'];
  execFileSync('gcc', [...flags, '-o', file, join(import.meta.dirname, 'shim.c')], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
}

if (import.meta.main) {
  const [file] = process.argv.slice(2);
  if (file === undefined) throw new Error('Usage: node cni/build.ts FILE');
  buildShim(file);
}
