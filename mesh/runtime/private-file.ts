// Files that hold secrets: only their owner may read them, they are never seen half-written, and a file that somebody
// else could have read or written is refused instead of used. Knows nothing of what is in them.

import { constants } from 'node:fs';
import { type FileHandle, link, open, rename, unlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { randomBytes } from 'node:crypto';

export type PrivateFileErrorCode =
  /** Group or others may read or write it. */
  | 'file-too-open'
  /** Belongs to another user. */
  | 'file-not-owned'
  /** A symbolic link, a directory, a device. */
  | 'file-not-regular'
  | 'file-too-large'
  /** Made by somebody else in the meantime. */
  | 'file-exists'
  | 'file-unreadable'
  | 'file-unwritable';

export class PrivateFileError extends Error {
  readonly code: PrivateFileErrorCode;

  constructor(code: PrivateFileErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'PrivateFileError';
    this.code = code;
  }
}

const mode = 0o600;
const maxBytes = 1024 * 1024;

/** The file's text, or undefined if there is none. Throws PrivateFileError. */
export async function readPrivateFile(path: string): Promise<string | undefined> {
  let file: FileHandle;
  try {
    // NOFOLLOW and NONBLOCK: neither a link to somewhere else nor a pipe that never answers.
    file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    if (errno(error) === 'ENOENT') return undefined;
    if (errno(error) === 'ELOOP') throw notRegular(path);
    throw new PrivateFileError('file-unreadable', `Reading "${path}" failed: ${errno(error)}`, {
      cause: error,
    });
  }
  try {
    await checkOpenFile(file, path);
    return await file.readFile('utf8');
  } finally {
    await file.close();
  }
}

/**
 * Writes the whole file or nothing, with mode 0600, and returns when it is on the disk.
 * @param options.exclusive fail with `file-exists` instead of replacing a file
 * @throws PrivateFileError
 */
export async function writePrivateFile(
  path: string,
  text: string,
  { exclusive = false }: { readonly exclusive?: boolean } = {},
): Promise<void> {
  const directory = dirname(path);
  const temporary = join(directory, `.${basename(path)}.${randomBytes(8).toString('hex')}.tmp`);
  try {
    try {
      await writeNew(temporary, text);
      // link() fails where rename() would replace.
      if (exclusive) await link(temporary, path);
      else await rename(temporary, path);
    } finally {
      await unlink(temporary).catch(() => undefined);
    }
    await syncDirectory(directory);
  } catch (error) {
    const code = errno(error) === 'EEXIST' ? 'file-exists' : 'file-unwritable';
    throw new PrivateFileError(code, `Writing "${path}" failed: ${errno(error)}`, { cause: error });
  }
}

async function checkOpenFile(file: FileHandle, path: string): Promise<void> {
  const stat = await file.stat();
  if (!stat.isFile()) throw notRegular(path);
  if (stat.uid !== process.geteuid?.()) {
    throw new PrivateFileError(
      'file-not-owned',
      `Refusing "${path}": it belongs to user ${stat.uid}, this process runs as ${process.geteuid?.()}`,
    );
  }
  if ((stat.mode & 0o077) !== 0) {
    const octal = (stat.mode & 0o777).toString(8).padStart(4, '0');
    throw new PrivateFileError(
      'file-too-open',
      `Refusing "${path}": its mode ${octal} lets others at its secrets; treat them as leaked, or chmod 600 it if nobody could have read them`,
    );
  }
  if (stat.size > maxBytes) {
    throw new PrivateFileError(
      'file-too-large',
      `Refusing "${path}": ${stat.size} bytes, at most ${maxBytes}`,
    );
  }
}

async function writeNew(path: string, text: string): Promise<void> {
  const file = await open(path, 'wx', mode);
  try {
    await file.chmod(mode);
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
}

/** Without it a rename may be undone by a power failure. */
async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

function notRegular(path: string): PrivateFileError {
  return new PrivateFileError('file-not-regular', `Refusing "${path}": it is not a regular file`);
}

function errno(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : String(error);
}
