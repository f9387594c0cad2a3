// The programs of bench/load, compiled when first needed into bench/.cache, under a name that changes with their
// sources. Knows nothing of what they measure.

import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { command } from '../e2e/lab/command.ts';
import { BenchError } from './bench-error.ts';

const sources = join(import.meta.dirname, 'load');
const cache = join(import.meta.dirname, '.cache');
const compiler = ['gcc', '-O2', '-Wall', '-Wextra', '-pthread'];

export type LoadTool = 'server' | 'bulk' | 'round-trip' | 'connect' | 'hold';

/** Compiles what is missing and returns the path of each tool. Throws BenchError `compile` with gcc's words. */
export function buildLoadTools(): (tool: LoadTool) => string {
  const files = readdirSync(sources).toSorted();
  const hash = createHash('sha256').update(compiler.join(' '));
  for (const file of files) hash.update(file).update(readFileSync(join(sources, file)));
  const directory = join(cache, hash.digest('hex').slice(0, 12));
  mkdirSync(directory, { recursive: true });
  for (const file of files.filter((name) => name.endsWith('.c'))) {
    compile(join(sources, file), join(directory, file.slice(0, -'.c'.length)));
  }
  return (tool) => join(directory, tool);
}

function compile(source: string, program: string): void {
  if (existsSync(program)) return;
  try {
    command([...compiler, '-o', `${program}.new`, source]);
  } catch (error) {
    throw new BenchError('compile', `Could not compile ${source}: ${(error as Error).message}`, {
      cause: error,
    });
  }
  // An interrupted compilation leaves no program that looks whole.
  renameSync(`${program}.new`, program);
}
