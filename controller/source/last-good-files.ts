// The last good text of each manifest, kept in the controller's state directory: a policy file that is broken when the
// controller restarts must not open what it closed before. A cache: losing it loses that, and nothing fails.

import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, rename, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from '../../mesh/runtime/logger.ts';

export class LastGoodFiles {
  readonly #directory: string;
  readonly #logger: Logger;
  #warned = false;

  constructor({ directory, logger }: { readonly directory: string; readonly logger: Logger }) {
    this.#directory = directory;
    this.#logger = logger;
  }

  /** The text last kept for this manifest, if there is one. Never rejects. */
  async read(manifest: string): Promise<string | undefined> {
    try {
      return await readFile(this.#pathOf(manifest), 'utf8');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') this.#warn(error);
      return undefined;
    }
  }

  /** Keeps `text`; does not touch the disk if it is what is kept already. Never rejects. */
  async write(manifest: string, text: string): Promise<void> {
    if ((await this.read(manifest)) === text) return;
    const path = this.#pathOf(manifest);
    try {
      await mkdir(this.#directory, { recursive: true, mode: 0o700 });
      await writeFile(`${path}.new`, text, { mode: 0o600 });
      await rename(`${path}.new`, path);
    } catch (error) {
      this.#warn(error);
    }
  }

  /** Forgets everything but these manifests: a file that was removed has no last version. Never rejects. */
  async retain(manifests: Iterable<string>): Promise<void> {
    const wanted = new Set([...manifests].map(nameOf));
    try {
      for (const name of await readdir(this.#directory)) {
        if (!wanted.has(name)) await unlink(join(this.#directory, name));
      }
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') this.#warn(error);
    }
  }

  #pathOf(manifest: string): string {
    return join(this.#directory, nameOf(manifest));
  }

  #warn(error: unknown): void {
    if (this.#warned) return;
    this.#warned = true;
    const reason = (error as Error).message;
    this.#logger.warn(
      { reason },
      'cannot keep last good manifests: one that is broken at a restart will be missing',
    );
  }
}

function nameOf(manifest: string): string {
  return `${createHash('sha256').update(manifest).digest('hex')}.yaml`;
}
