// The text of a join token: `weft1.<id>.<secret>`. The id is public and names the record; the secret is 256 random bits
// that only its bearer has, so a plain SHA-256 of it is enough to store.

import { createHash, randomBytes } from 'node:crypto';

export interface JoinToken {
  /** 16 lower-case hexadecimal digits. */
  readonly id: string;
  readonly secret: Buffer;
}

const format = /^weft1\.([0-9a-f]{16})\.([A-Za-z0-9_-]{43})$/;
const idFormat = /^[0-9a-f]{16}$/;

export function randomJoinToken(): JoinToken {
  return { id: randomBytes(8).toString('hex'), secret: randomBytes(32) };
}

export function formatJoinToken({ id, secret }: JoinToken): string {
  return `weft1.${id}.${secret.toString('base64url')}`;
}

export function parseJoinToken(text: string): JoinToken | undefined {
  const [, id, secret] = format.exec(text) ?? [];
  if (id === undefined || secret === undefined) return undefined;
  return { id, secret: Buffer.from(secret, 'base64url') };
}

/** Safe as a file name. */
export function isJoinTokenId(text: string): boolean {
  return idFormat.test(text);
}

export function hashSecret(secret: Buffer): Buffer {
  return createHash('sha256').update(secret).digest();
}
