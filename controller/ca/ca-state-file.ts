// Keeps the CA's state in one file, `ca.json`, mode 0600 in the controller's state directory. Each write replaces the
// whole file, so every step of a rotation is either done or not. A file that cannot be used stops the controller: a
// new root made silently would cut every node off.

import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { PrivateFileError, readPrivateFile, writePrivateFile } from '../../mesh/runtime/private-file.ts';
import { CaError } from './ca-error.ts';
import { type CaState, caStateSchema } from './ca-state.ts';
import type { CaStateStore } from './ca-state-store.ts';
import { type Root, readRoot } from './root-certificate.ts';

export interface LoadedState {
  readonly state: CaState;
  /** As in `state.roots`. */
  readonly roots: readonly Root[];
}

export class CaStateFile implements CaStateStore {
  readonly path: string;

  constructor(stateDir: string) {
    this.path = join(stateDir, 'ca.json');
  }

  get place(): string {
    return this.path;
  }

  /** Undefined if there is none yet. Throws CaError `state-file` or `state-corrupt`. */
  async load(): Promise<LoadedState | undefined> {
    const text = await this.#guard(() => readPrivateFile(this.path));
    if (text === undefined) return undefined;
    try {
      const state: CaState = caStateSchema.parse(JSON.parse(text));
      return { state, roots: state.roots.map(readRoot) };
    } catch (error) {
      // A JSON error would quote the text, and with it a private key.
      const why = error instanceof z.ZodError ? z.prettifyError(error) : reason(error);
      throw new CaError(
        'state-corrupt',
        `Root certificate file "${this.path}" is corrupt: ${why}. Restore it from a backup; if there is none, move it away to start with a new root, and give every node the new root`,
      );
    }
  }

  /** Writes the first state; fails if another controller was quicker. Makes the directory, mode 0700. */
  async create(state: CaState): Promise<LoadedState> {
    await this.#guard(async () => {
      await mkdir(join(this.path, '..'), { recursive: true, mode: 0o700 });
      await writePrivateFile(this.path, JSON.stringify(state), { exclusive: true });
    });
    return { state, roots: state.roots.map(readRoot) };
  }

  async save(state: CaState): Promise<LoadedState> {
    await this.#guard(() => writePrivateFile(this.path, JSON.stringify(state)));
    return { state, roots: state.roots.map(readRoot) };
  }

  async #guard<T>(run: () => Promise<T>): Promise<T> {
    try {
      return await run();
    } catch (error) {
      const why = error instanceof PrivateFileError ? error.message : `Using "${this.path}" failed: ${error}`;
      throw new CaError('state-file', why, { cause: error });
    }
  }
}

function reason(error: unknown): string {
  if (error instanceof SyntaxError) return 'it is not JSON';
  return error instanceof Error ? error.message : String(error);
}
