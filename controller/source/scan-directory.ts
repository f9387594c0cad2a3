// Finds the manifest files below a directory: recursive, symlinks followed (Kubernetes mounts ConfigMaps through a
// "..data" link), each directory entered once, bounded in depth and number. Reads no contents.

import { lstat, readdir, realpath, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Problem } from './problem.ts';

export interface FoundFile {
  /** Path that starts with the scanned directory as it was given. */
  readonly path: string;
  readonly sizeBytes: number;
  /** Changes whenever the contents may have changed: device, inode, size, modification and change time. */
  readonly stamp: string;
}

export interface DirectoryScan {
  /** Sorted by path. */
  readonly files: readonly FoundFile[];
  /** Every directory that was entered, for watching. A directory made anew under its old path has another `id`. */
  readonly directories: readonly { readonly path: string; readonly id: string }[];
  readonly problems: readonly Problem[];
  /** Directories that could not be read: what was known below them stays in force. */
  readonly unreadable: readonly string[];
}

const maxDepth = 16;
const maxFiles = 100_000;
const manifestName = /\.(yaml|yml|json)$/;

interface Walk {
  readonly files: FoundFile[];
  readonly directories: { path: string; id: string }[];
  readonly problems: Problem[];
  readonly unreadable: string[];
  readonly entered: Set<string>;
}

/** Scans `directory`. Rejects if the directory itself cannot be read; anything below becomes a problem. */
export async function scanDirectory(directory: string): Promise<DirectoryScan> {
  const walk: Walk = { files: [], directories: [], problems: [], unreadable: [], entered: new Set() };
  await enter(walk, { path: directory, depth: 0, real: await realpath(directory) });
  walk.files.sort((a, b) => (a.path < b.path ? -1 : 1));
  return walk;
}

async function enter(walk: Walk, dir: { path: string; depth: number; real: string }): Promise<void> {
  if (walk.entered.has(dir.real)) return;
  walk.entered.add(dir.real);
  const { dev, ino } = await stat(dir.path, { bigint: true });
  walk.directories.push({ path: dir.path, id: `${dir.path}:${dev}.${ino}` });
  const names = (await readdir(dir.path)).sort();
  for (const name of names) {
    // Hidden files are editors' swap files and the targets of Kubernetes' "..data" link, not manifests.
    if (name.startsWith('.')) continue;
    await visit(walk, join(dir.path, name), dir.depth);
  }
}

async function visit(walk: Walk, path: string, depth: number): Promise<void> {
  try {
    const found = await stat(path, { bigint: true });
    if (found.isDirectory()) {
      if (depth >= maxDepth) report(walk, path, `Not entered: nested deeper than ${maxDepth} directories`);
      else await enter(walk, { path, depth: depth + 1, real: await realpath(path) });
    } else if (manifestName.test(path)) {
      if (!found.isFile()) report(walk, path, 'Not a regular file: manifests are plain files');
      else if (walk.files.length >= maxFiles) reportTooMany(walk, path);
      else {
        const stamp = `${found.dev}.${found.ino}.${found.size}.${found.mtimeNs}.${found.ctimeNs}`;
        walk.files.push({ path, sizeBytes: Number(found.size), stamp });
      }
    }
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'ENOENT' && !(await isLink(path))) return;
    walk.unreadable.push(path);
    const reason = code === 'ENOENT' ? 'it is a link to nowhere' : 'check its permissions';
    report(walk, path, `Cannot be read (${code ?? 'unknown error'}): ${reason}`);
  }
}

/** Tells a link to nowhere from a file that was removed since it was listed. */
async function isLink(path: string): Promise<boolean> {
  return lstat(path).then(
    (found) => found.isSymbolicLink(),
    () => false,
  );
}

function reportTooMany(walk: Walk, path: string): void {
  const message = `Not read: there are more than ${maxFiles} manifests in the directory`;
  if (walk.problems.some((problem) => problem.message === message)) return;
  report(walk, path, message);
}

function report(walk: Walk, file: string, message: string): void {
  walk.problems.push({ file, line: 0, column: 0, message, severity: 'error' });
}
