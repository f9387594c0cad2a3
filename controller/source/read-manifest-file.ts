// Reads one manifest file as text, never more than the limit and never anything but a regular file in UTF-8.

import { constants, open } from 'node:fs/promises';

/** Ten times what etcd accepts for one object, many times over; larger files are generated or no manifests. */
export const maxManifestBytes = 10 * 1024 * 1024;

export type ManifestText =
  | { readonly text: string }
  /** `gone`: the file does not exist any more. */
  | { readonly gone: true }
  | { readonly problem: string };

/** Never rejects: what went wrong is in the result. */
export async function readManifestFile(path: string): Promise<ManifestText> {
  try {
    // Without O_NONBLOCK, opening a FIFO would wait for a writer for ever.
    await using file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
    const { size, isFile } = await file
      .stat()
      .then((found) => ({ size: found.size, isFile: found.isFile() }));
    if (!isFile) return { problem: 'Not a regular file: manifests are plain files' };
    if (size > maxManifestBytes) return { problem: tooLarge(size) };
    // One byte more than the limit shows a file that grew after stat.
    const buffer = Buffer.allocUnsafe(size + 1);
    let length = 0;
    while (length < buffer.length) {
      const { bytesRead } = await file.read(buffer, length, buffer.length - length, length);
      if (bytesRead === 0) break;
      length += bytesRead;
    }
    return decode(buffer.subarray(0, Math.min(length, size)));
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'ENOENT') return { gone: true };
    return { problem: `Cannot be read (${code ?? String(error)}): check its permissions` };
  }
}

function decode(bytes: Uint8Array): ManifestText {
  try {
    return { text: new TextDecoder('utf-8', { fatal: true }).decode(bytes) };
  } catch {
    return { problem: 'Not UTF-8 text: save the file as UTF-8' };
  }
}

function tooLarge(sizeBytes: number): string {
  const mib = (bytes: number) => `${(bytes / 1024 / 1024).toFixed(0)} MiB`;
  return `Not read: ${mib(sizeBytes)} is over the limit of ${mib(maxManifestBytes)}; split the file`;
}
