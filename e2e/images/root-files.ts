// Puts programs of this machine into the root directory of an image: each with the shared libraries that the dynamic
// linker names for it, at the same paths.

import { execFileSync } from 'node:child_process';
import { chmodSync, copyFileSync, existsSync, mkdirSync, readdirSync, realpathSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** Copies a program or library to `target` in `root`, and what it is linked against. */
export function addProgram(root: string, source: string, target: string): void {
  addFile(root, source, target);
  for (const library of sharedLibraries(source)) {
    if (!existsSync(join(root, library))) addFile(root, library, library);
  }
}

/** Copies what a link leads to. */
export function addFile(root: string, source: string, target: string): void {
  const destination = join(root, target);
  mkdirSync(dirname(destination), { recursive: true });
  const real = realpathSync(source);
  copyFileSync(real, destination);
  chmodSync(destination, 0o755);
}

/** The path of a library by its name, where Debian and others keep them; undefined if it is not installed. */
export function findLibrary(name: string): string | undefined {
  const folders = ['/usr/lib', '/lib'].flatMap((folder) =>
    readdirSync(folder)
      .filter((entry) => entry.endsWith('-linux-gnu'))
      .map((entry) => join(folder, entry)),
  );
  return [...folders, '/usr/lib64', '/usr/lib', '/usr/local/lib']
    .map((folder) => join(folder, name))
    .find((path) => existsSync(path));
}

/** Absolute paths; none for a program that is linked statically, of which ldd says so by failing. */
function sharedLibraries(file: string): readonly string[] {
  let text: string;
  try {
    text = execFileSync('ldd', [file], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
  } catch {
    return [];
  }
  return text.split('\n').flatMap((line) => /(\/\S+) \(0x/.exec(line)?.[1] ?? []);
}
