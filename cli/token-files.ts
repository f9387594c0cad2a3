// The join tokens of the programs of one `weft up`: made when one is needed, in files that only this user reads, and
// revoked at the end.

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { JoinTokens, type NewToken } from '../controller/identity/join-tokens.ts';
import { systemClock } from '../mesh/runtime/clock.ts';

export class TokenFiles {
  readonly #directory: string;
  readonly #tokens: JoinTokens;
  readonly #ids: string[] = [];

  private constructor(directory: string, tokens: JoinTokens) {
    this.#directory = directory;
    this.#tokens = tokens;
  }

  static async open(stateDir: string): Promise<TokenFiles> {
    const directory = await mkdtemp(join(tmpdir(), 'weft-up-'));
    return new TokenFiles(directory, new JoinTokens({ stateDir, clock: systemClock }));
  }

  /** The file's path. */
  async forNode(node: string): Promise<string> {
    return await this.#write(await this.#tokens.create(node));
  }

  /** The file's path. */
  async forWaypoint(gateway: string): Promise<string> {
    return await this.#write(await this.#tokens.createForWaypoint(gateway));
  }

  /** All of them; the files go, too. */
  async revoke(): Promise<void> {
    for (const id of this.#ids) await this.#tokens.revoke(id);
    await rm(this.#directory, { recursive: true, force: true });
  }

  async #write({ token, record }: NewToken): Promise<string> {
    this.#ids.push(record.id);
    const file = join(this.#directory, `token-${this.#ids.length}`);
    await writeFile(file, token, { mode: 0o600 });
    return file;
  }
}
