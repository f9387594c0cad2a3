// A JWK set (RFC 7517) as text to keys that tokens are verified with. Only public keys of asymmetric algorithms count;
// a set may hold others, which are passed over.

import { createLocalJWKSet, type LocalJWKSet } from 'jose';
import { JwksError } from './jwks-error.ts';

/** A set with more is somebody's mistake. */
const maxKeys = 1_000;

export type KeySet = LocalJWKSet;

/** @throws JwksError malformed, too-large */
export function parseKeySet(text: string): KeySet {
  const parsed = parseJson(text);
  const keys =
    typeof parsed === 'object' && parsed !== null ? (parsed as { keys?: unknown }).keys : undefined;
  if (!Array.isArray(keys)) throw new JwksError('malformed', 'The key set is no object with a list "keys"');
  if (keys.length > maxKeys)
    throw new JwksError('too-large', `The key set has ${keys.length} keys; at most ${maxKeys} are read`);
  const usable = keys.filter(isPublicKey);
  try {
    return createLocalJWKSet({ keys: usable });
  } catch (error) {
    throw new JwksError('malformed', 'The key set can not be read', { cause: error });
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new JwksError('malformed', 'The key set is no JSON', { cause: error });
  }
}

/** `oct` keys are secrets: whoever could read the set could sign with them. */
function isPublicKey(key: unknown): boolean {
  if (typeof key !== 'object' || key === null) return false;
  const { kty } = key as { kty?: unknown };
  return kty === 'RSA' || kty === 'EC' || kty === 'OKP';
}
