// Join tokens bind a caller to its node where no Kubernetes vouches for it. One file a token in `tokens/` of the state
// directory, mode 0600, with the hash of the secret only. Files are read at each use: a token that another process
// made or revoked counts at once, and nothing has to be told.

import { timingSafeEqual } from 'node:crypto';
import { mkdir, readdir, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import type { Clock } from '../../mesh/runtime/clock.ts';
import { PrivateFileError, readPrivateFile, writePrivateFile } from '../../mesh/runtime/private-file.ts';
import { formatJoinToken, hashSecret, isJoinTokenId, parseJoinToken, randomJoinToken } from './join-token.ts';

export interface JoinTokenRecord {
  readonly id: string;
  readonly node: string;
  /** Wall clock in ms. */
  readonly createdAt: number;
  /** Wall clock in ms. */
  readonly expiresAt: number;
}

/** Who calls, as far as the token proves it. */
export interface NodeCaller {
  readonly node: string;
  readonly tokenId: string;
}

export type AuthenticationFailureCode =
  | 'token-missing'
  | 'token-malformed'
  | 'token-unknown'
  | 'token-wrong'
  | 'token-expired'
  /** The record exists but cannot be used; the operator must look. */
  | 'token-record-unusable';

export type Authentication =
  | { readonly ok: true; readonly caller: NodeCaller }
  | {
      readonly ok: false;
      readonly code: AuthenticationFailureCode;
      /** For the log; names the token's id where it is known, never the secret. */
      readonly reason: string;
    };

/** What the certificate and the configuration service need of this. */
export interface Authenticator {
  /** @param authorization the call's `authorization` metadata, `Bearer <token>`; undefined if there is none */
  authenticate(authorization: string | undefined): Promise<Authentication>;
}

const defaultLifeSeconds = 365 * 86_400;
const maxLifeSeconds = 10 * 365 * 86_400;
/** DNS-1123 subdomain, as Kubernetes names nodes. */
const nodeName = /^(?=.{1,253}$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$/;

const recordSchema = z.strictObject({
  version: z.literal(1),
  id: z.string().refine(isJoinTokenId),
  node: z.string().regex(nodeName),
  secretSha256: z.string().regex(/^[0-9a-f]{64}$/),
  createdAt: z.number().int(),
  expiresAt: z.number().int(),
});

type StoredRecord = z.infer<typeof recordSchema>;

export class JoinTokens implements Authenticator {
  readonly #directory: string;
  readonly #clock: Clock;

  /** @param options.stateDir the controller's state directory */
  constructor({ stateDir, clock }: { readonly stateDir: string; readonly clock: Clock }) {
    this.#directory = join(stateDir, 'tokens');
    this.#clock = clock;
  }

  /**
   * Makes a token for a node. The text is shown once and kept nowhere.
   * @param options.lifeSeconds 1 s to ten years, default one year
   * @throws RangeError for a name that is no node name or a life out of range; PrivateFileError
   */
  async create(
    node: string,
    { lifeSeconds = defaultLifeSeconds }: { readonly lifeSeconds?: number } = {},
  ): Promise<{ readonly token: string; readonly record: JoinTokenRecord }> {
    if (!nodeName.test(node)) {
      throw new RangeError(`Node name "${node}" is not a DNS name in lower case, such as "node-1"`);
    }
    if (!(lifeSeconds >= 1 && lifeSeconds <= maxLifeSeconds)) {
      throw new RangeError(`Token life of ${lifeSeconds} s is not in the range 1 to ${maxLifeSeconds}`);
    }
    const token = randomJoinToken();
    const createdAt = this.#clock.now();
    const expiresAt = createdAt + Math.round(lifeSeconds * 1000);
    const record: JoinTokenRecord = { id: token.id, node, createdAt, expiresAt };
    const secretSha256 = hashSecret(token.secret).toString('hex');
    await mkdir(this.#directory, { recursive: true, mode: 0o700 });
    const stored: StoredRecord = { version: 1, ...record, secretSha256 };
    await writePrivateFile(this.#path(token.id), JSON.stringify(stored), { exclusive: true });
    return { token: formatJoinToken(token), record };
  }

  async authenticate(authorization: string | undefined): Promise<Authentication> {
    if (authorization === undefined || authorization === '') return no('token-missing', 'No token was sent');
    const [, bearer = ''] = /^bearer +(\S+)$/i.exec(authorization) ?? [];
    const token = parseJoinToken(bearer);
    if (token === undefined) return no('token-malformed', 'Authorization is not "Bearer" and a join token');
    const { id } = token;
    let stored: StoredRecord | undefined;
    try {
      stored = await this.#read(id);
    } catch (error) {
      return no('token-record-unusable', error instanceof Error ? error.message : String(error));
    }
    if (stored === undefined) return no('token-unknown', `Token "${id}" does not exist or was revoked`);
    if (!timingSafeEqual(hashSecret(token.secret), Buffer.from(stored.secretSha256, 'hex'))) {
      return no('token-wrong', `Secret of token "${id}" is wrong`);
    }
    if (stored.expiresAt <= this.#clock.now()) {
      const end = new Date(stored.expiresAt).toISOString();
      return no('token-expired', `Token "${id}" of node "${stored.node}" expired at ${end}`);
    }
    return { ok: true, caller: { node: stored.node, tokenId: id } };
  }

  /** Ends a token at once. False if there is none. */
  async revoke(id: string): Promise<boolean> {
    if (!isJoinTokenId(id)) return false;
    try {
      await unlink(this.#path(id));
      return true;
    } catch (error) {
      if (isNotFound(error)) return false;
      throw error;
    }
  }

  /** Every usable record, expired ones too, sorted by node and age. `unusable` names files that are none. */
  async list(): Promise<{
    readonly tokens: readonly JoinTokenRecord[];
    readonly unusable: readonly string[];
  }> {
    const tokens: JoinTokenRecord[] = [];
    const unusable: string[] = [];
    for (const file of await this.#files()) {
      const stored = await this.#read(file.slice(0, -'.json'.length)).catch(() => undefined);
      if (stored === undefined) {
        unusable.push(join(this.#directory, file));
        continue;
      }
      const { id, node, createdAt, expiresAt } = stored;
      tokens.push({ id, node, createdAt, expiresAt });
    }
    tokens.sort((a, b) => (a.node === b.node ? a.createdAt - b.createdAt : a.node < b.node ? -1 : 1));
    return { tokens, unusable };
  }

  async #files(): Promise<string[]> {
    try {
      return (await readdir(this.#directory)).filter((file) => file.endsWith('.json')).sort();
    } catch (error) {
      if (isNotFound(error)) return [];
      throw error;
    }
  }

  async #read(id: string): Promise<StoredRecord | undefined> {
    if (!isJoinTokenId(id)) return undefined;
    const path = this.#path(id);
    const text = await readPrivateFile(path);
    if (text === undefined) return undefined;
    const stored = recordSchema.safeParse(parseJson(text));
    if (!stored.success || stored.data.id !== id) {
      throw new PrivateFileError(
        'file-unreadable',
        `Token record "${path}" is corrupt; revoke it and make a new token`,
      );
    }
    return stored.data;
  }

  #path(id: string): string {
    return join(this.#directory, `${id}.json`);
  }
}

function no(code: AuthenticationFailureCode, reason: string): Authentication {
  return { ok: false, code, reason };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function isNotFound(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT';
}
