// Join tokens bind a caller to its node, or to the waypoint it is, where no Kubernetes vouches for it. One file a token in
// `tokens/` of the state directory, mode 0600, with the hash of the secret only. Files are read at each use: a token that another process
// made or revoked counts at once, and nothing has to be told.

import { timingSafeEqual } from 'node:crypto';
import { mkdir, readdir, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import type { GatewayKey } from '../../mesh/model/routing.ts';
import type { Clock } from '../../mesh/runtime/clock.ts';
import { PrivateFileError, readPrivateFile, writePrivateFile } from '../../mesh/runtime/private-file.ts';
import { type Authentication, type Authenticator, refusal } from './authenticator.ts';
import { formatJoinToken, hashSecret, isJoinTokenId, parseJoinToken, randomJoinToken } from './join-token.ts';

/** Whom a token makes its bearer. */
export type TokenBearer =
  | { readonly kind: 'node'; readonly node: string }
  | { readonly kind: 'waypoint'; readonly gateway: GatewayKey };

export interface JoinTokenRecord {
  readonly id: string;
  readonly bearer: TokenBearer;
  /** Wall clock in ms. */
  readonly createdAt: number;
  /** Wall clock in ms. */
  readonly expiresAt: number;
}

const defaultLifeSeconds = 365 * 86_400;
const maxLifeSeconds = 10 * 365 * 86_400;
/** DNS-1123 subdomain, as Kubernetes names nodes. */
const nodeName = /^(?=.{1,253}$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$/;

/** A namespace and the name of a Gateway, which is also that of its Service and service account. */
const gatewayName = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\/[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;

const recordFields = {
  version: z.literal(1),
  id: z.string().refine(isJoinTokenId),
  secretSha256: z.string().regex(/^[0-9a-f]{64}$/),
  createdAt: z.number().int(),
  expiresAt: z.number().int(),
};

const recordSchema = z.union([
  z.strictObject({ ...recordFields, node: z.string().regex(nodeName) }),
  z.strictObject({ ...recordFields, waypoint: z.string().regex(gatewayName) }),
]);

type StoredRecord = z.infer<typeof recordSchema>;

export interface TokenOptions {
  readonly lifeSeconds?: number;
}

export interface NewToken {
  readonly token: string;
  readonly record: JoinTokenRecord;
}

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
  async create(node: string, options: TokenOptions = {}): Promise<NewToken> {
    if (!nodeName.test(node)) {
      throw new RangeError(`Node name "${node}" is not a DNS name in lower case, such as "node-1"`);
    }
    return await this.#make({ kind: 'node', node }, options);
  }

  /** As `create`, for the waypoint `namespace/name`. */
  async createForWaypoint(gateway: string, options: TokenOptions = {}): Promise<NewToken> {
    if (!gatewayName.test(gateway)) {
      throw new RangeError(`Waypoint "${gateway}" is not a namespace and a name, such as "shop/waypoint"`);
    }
    return await this.#make({ kind: 'waypoint', gateway: gateway as GatewayKey }, options);
  }

  async authenticate(authorization: string | undefined): Promise<Authentication> {
    if (authorization === undefined || authorization === '')
      return refusal('token-missing', 'No token was sent');
    const [, bearer = ''] = /^bearer +(\S+)$/i.exec(authorization) ?? [];
    const token = parseJoinToken(bearer);
    if (token === undefined)
      return refusal('token-malformed', 'Authorization is not "Bearer" and a join token');
    const { id } = token;
    let stored: StoredRecord | undefined;
    try {
      stored = await this.#read(id);
    } catch (error) {
      return refusal('token-record-unusable', error instanceof Error ? error.message : String(error));
    }
    if (stored === undefined) return refusal('token-unknown', `Token "${id}" does not exist or was revoked`);
    if (!timingSafeEqual(hashSecret(token.secret), Buffer.from(stored.secretSha256, 'hex'))) {
      return refusal('token-wrong', `Secret of token "${id}" is wrong`);
    }
    if (stored.expiresAt <= this.#clock.now()) {
      const end = new Date(stored.expiresAt).toISOString();
      const { kind } = bearerOf(stored);
      return refusal(
        'token-expired',
        `Token "${id}" of ${kind} "${bearerName(bearerOf(stored))}" expired at ${end}`,
      );
    }
    return { ok: true, caller: { ...bearerOf(stored), tokenId: id } };
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

  /** Every usable record, expired ones too, sorted by bearer (nodes first) and age. `unusable` names files that are none. */
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
      const { id, createdAt, expiresAt } = stored;
      tokens.push({ id, bearer: bearerOf(stored), createdAt, expiresAt });
    }
    const order = ({ bearer }: JoinTokenRecord): string => `${bearer.kind} ${bearerName(bearer)}`;
    tokens.sort((a, b) => {
      const [first, second] = [order(a), order(b)];
      return first === second ? a.createdAt - b.createdAt : first < second ? -1 : 1;
    });
    return { tokens, unusable };
  }

  async #make(bearer: TokenBearer, { lifeSeconds = defaultLifeSeconds }: TokenOptions): Promise<NewToken> {
    if (!(lifeSeconds >= 1 && lifeSeconds <= maxLifeSeconds)) {
      throw new RangeError(`Token life of ${lifeSeconds} s is not in the range 1 to ${maxLifeSeconds}`);
    }
    const token = randomJoinToken();
    const createdAt = this.#clock.now();
    const expiresAt = createdAt + Math.round(lifeSeconds * 1000);
    const secretSha256 = hashSecret(token.secret).toString('hex');
    await mkdir(this.#directory, { recursive: true, mode: 0o700 });
    const whose = bearer.kind === 'node' ? { node: bearer.node } : { waypoint: bearer.gateway };
    const stored: StoredRecord = { version: 1, id: token.id, ...whose, createdAt, expiresAt, secretSha256 };
    await writePrivateFile(this.#path(token.id), JSON.stringify(stored), { exclusive: true });
    return { token: formatJoinToken(token), record: { id: token.id, bearer, createdAt, expiresAt } };
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

/** The node's name, or the waypoint's `namespace/name`. */
export function bearerName(bearer: TokenBearer): string {
  return bearer.kind === 'node' ? bearer.node : bearer.gateway;
}

function bearerOf(stored: StoredRecord): TokenBearer {
  return 'node' in stored
    ? { kind: 'node', node: stored.node }
    : { kind: 'waypoint', gateway: stored.waypoint as GatewayKey };
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
