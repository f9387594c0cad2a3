// Compiles the kernel programs to the committed objects, and checks that what is committed is what the sources give.
// Users need no compiler; whoever changes bpf/*.bpf.c does: clang, llvm-strip and the libbpf headers (libbpf-dev).

import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const directory = import.meta.dirname;
const objects = ['redirect', 'inbound'] as const;

export type BuildCheck =
  | { readonly result: 'same' }
  | { readonly result: 'different'; readonly files: readonly string[] }
  | { readonly result: 'skipped'; readonly reason: string };

/** Writes bpf/obj/*.bpf.o. Throws with the compiler's output if it fails. */
export function buildObjects(): void {
  for (const name of objects) writeFileSync(objectPath(name), compile(name));
  writeFileSync(compilerPath, `${compilerVersion() ?? ''}\n`);
}

/**
 * Compiles again and compares byte by byte. Skipped without the tools, and with another clang than the one the
 * committed objects name: only the same compiler gives the same bytes.
 */
export function checkObjects(): BuildCheck {
  const version = compilerVersion();
  if (version === undefined) return { result: 'skipped', reason: 'clang or llvm-strip is not installed' };
  const committed = readFileSync(compilerPath, 'utf8').trim();
  if (version !== committed) {
    return {
      result: 'skipped',
      reason: `the objects were built with clang ${committed}, this is ${version}`,
    };
  }
  const files = objects
    .filter((name) => !readFileSync(objectPath(name)).equals(compile(name)))
    .map((name) => `bpf/obj/${name}.bpf.o`);
  return files.length === 0 ? { result: 'same' } : { result: 'different', files };
}

const compilerPath = join(directory, 'obj', 'COMPILER');

function objectPath(name: string): string {
  return join(directory, 'obj', `${name}.bpf.o`);
}

/** Debug information is dropped but BTF stays (libbpf reads the maps from it), with paths relative to bpf/. */
function compile(name: string): Buffer {
  const temporary = mkdtempSync(join(tmpdir(), 'weft-bpf-build-'));
  try {
    const out = join(temporary, 'out.o');
    const flags = ['-O2', '-g', '-Wall', '-Wextra', '-Werror', '-target', 'bpf', '-mcpu=v2', ...headers()];
    const source = `${name}.bpf.c`;
    execFileSync('clang', [...flags, `-ffile-prefix-map=${directory}=.`, '-c', source, '-o', out], {
      cwd: directory,
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    execFileSync('llvm-strip', ['-g', out]);
    return readFileSync(out);
  } finally {
    rmSync(temporary, { recursive: true });
  }
}

/** The BPF target does not search Debian's directory of the machine's own architecture, where asm/types.h is. */
function headers(): string[] {
  const triplet = { x64: 'x86_64-linux-gnu', arm64: 'aarch64-linux-gnu' }[process.arch as string];
  return triplet === undefined ? [] : [`-I/usr/include/${triplet}`];
}

/** For example `14.0.6`; undefined if a tool is missing. */
function compilerVersion(): string | undefined {
  if (spawnSync('llvm-strip', ['--version']).status !== 0) return undefined;
  const { status, stdout } = spawnSync('clang', ['--version'], { encoding: 'utf8' });
  return status === 0 ? /version (\d+\.\d+\.\d+)/.exec(stdout)?.[1] : undefined;
}

/** As scripts/checks.ts takes it: this machine can not run the check. */
const skippedStatus = 77;

function main(args: readonly string[]): number {
  if (!args.includes('--check')) {
    buildObjects();
    return 0;
  }
  const check = checkObjects();
  if (check.result === 'different') {
    process.stderr.write(`Not what the sources compile to: ${check.files.join(', ')}\n`);
    return 1;
  }
  if (check.result === 'same') return 0;
  process.stderr.write(`${check.reason}\n`);
  return skippedStatus;
}

if (import.meta.main) process.exitCode = main(process.argv.slice(2));
