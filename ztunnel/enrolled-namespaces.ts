// The names of enrolled namespaces as a file of the node directory, one a line: what the CNI plugin goes by while no node
// tunnel runs, and the node tunnel until it has its configuration. Written whole or not at all.

import { join } from 'node:path';
import type { Logger } from '../mesh/runtime/logger.ts';
import { readPrivateFile, writePrivateFile } from '../mesh/runtime/private-file.ts';

export class EnrolledNamespaces {
  #path: string;
  #logger: Logger;
  #names: ReadonlySet<string>;
  #written: Promise<void> = Promise.resolve();

  private constructor(path: string, logger: Logger, names: ReadonlySet<string>) {
    this.#path = path;
    this.#logger = logger;
    this.#names = names;
  }

  /** With what an earlier process wrote into `directory`. @throws PrivateFileError */
  static async open(directory: string, { logger }: { readonly logger: Logger }): Promise<EnrolledNamespaces> {
    const path = join(directory, 'enrolled-namespaces');
    const text = (await readPrivateFile(path)) ?? '';
    return new EnrolledNamespaces(path, logger, new Set(text.split('\n').filter((name) => name !== '')));
  }

  has(name: string): boolean {
    return this.#names.has(name);
  }

  /** Counts at once; the file follows. */
  set(names: readonly string[]): void {
    this.#names = new Set(names);
    const text = names.map((name) => `${name}\n`).join('');
    this.#written = this.#written
      .then(() => writePrivateFile(this.#path, text))
      .catch((err: unknown) => this.#logger.error({ err }, 'Enrolled namespaces could not be written'));
  }

  /** Resolves when the file is as it was last set. */
  async flush(): Promise<void> {
    await this.#written;
  }
}
