// By which roots a proxy knows its controller: those of the root certificate file, and those that came with the
// newest workload certificate. A rotation of the mesh's root gives the controller a certificate of the new root while
// the file still holds the old one; the proxy has learned the new one by then and keeps it across restarts. What was
// learned belongs to the file: a file with other content is the operator's new word and makes it void.

import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { readPrivateFile, writePrivateFile } from '../runtime/private-file.ts';
import type { Logger } from '../runtime/logger.ts';
import { parseCertificates } from '../tls/certificate.ts';
import type { WorkloadCertificate } from '../tls/workload-certificate.ts';

export interface ControllerRootsOptions {
  /** PEM; read again at each use. */
  readonly rootCertFile: string;
  /** Directory of what was learned; made if missing. Undefined: it ends with the process. */
  readonly stateDir: string | undefined;
  readonly logger: Logger;
}

interface Learned {
  /** SHA-256 of the root certificate file, hexadecimal. */
  readonly fileHash: string;
  readonly rootsPem: string;
}

const fileName = 'learned-roots.json';

export class ControllerRoots {
  readonly #options: ControllerRootsOptions;
  #learned: Learned | undefined;
  /** Start of validity of the certificate they came with: replies can overtake each other. */
  #learnedFrom = 0;
  #lastWrite: Promise<void> = Promise.resolve();

  private constructor(options: ControllerRootsOptions, learned: Learned | undefined) {
    this.#options = options;
    this.#learned = learned;
  }

  /** What cannot be read is logged and left out: the file of the operator is there in any case. */
  static async open(options: ControllerRootsOptions): Promise<ControllerRoots> {
    const { stateDir, logger } = options;
    if (stateDir === undefined) return new ControllerRoots(options, undefined);
    try {
      const text = await readPrivateFile(join(stateDir, fileName));
      return new ControllerRoots(options, text === undefined ? undefined : parseLearned(text));
    } catch (error) {
      logger.warn({ err: error }, 'learned roots of the controller cannot be used');
      return new ControllerRoots(options, undefined);
    }
  }

  /** PEM of all of them. Throws when the root certificate file cannot be read. */
  current(): string {
    const fromFile = readFileSync(this.#options.rootCertFile, 'utf8');
    const learned = this.#learned;
    if (learned === undefined || learned.fileHash !== hashOf(fromFile)) return fromFile;
    return `${fromFile.trimEnd()}\n${learned.rootsPem}`;
  }

  /** Takes over the roots of a certificate the signer has just issued; older certificates change nothing. */
  learn({ rootsPem, notBefore }: Pick<WorkloadCertificate, 'rootsPem' | 'notBefore'>): void {
    if (notBefore < this.#learnedFrom) return;
    this.#learnedFrom = notBefore;
    let fileHash: string;
    try {
      fileHash = hashOf(readFileSync(this.#options.rootCertFile, 'utf8'));
    } catch (error) {
      this.#options.logger.warn({ err: error }, 'reading the root certificate file failed');
      return;
    }
    if (this.#learned?.rootsPem === rootsPem && this.#learned.fileHash === fileHash) return;
    this.#learned = { fileHash, rootsPem };
    this.#lastWrite = this.#lastWrite.then(() => this.#write());
  }

  /** Resolves when everything learned so far is on the disk, or was logged as not writable. */
  async flush(): Promise<void> {
    await this.#lastWrite;
  }

  async #write(): Promise<void> {
    const { stateDir, logger } = this.#options;
    if (stateDir === undefined) return;
    try {
      await mkdir(stateDir, { recursive: true, mode: 0o700 });
      await writePrivateFile(join(stateDir, fileName), JSON.stringify(this.#learned));
    } catch (error) {
      logger.warn(
        { err: error, stateDir },
        'learned roots of the controller are not kept: a restart during a root rotation may need the new root file',
      );
    }
  }
}

/** Throws when the text is not what `#write` writes, or its roots are no CA certificates. */
function parseLearned(text: string): Learned {
  const { fileHash, rootsPem } = JSON.parse(text) as Partial<Record<keyof Learned, unknown>>;
  if (typeof fileHash !== 'string' || typeof rootsPem !== 'string')
    throw new Error('Not a file of learned roots');
  if (!parseCertificates(rootsPem).every(({ isCa }) => isCa))
    throw new Error('A learned root is no CA certificate');
  return { fileHash, rootsPem };
}

function hashOf(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
