// Verifies tokens on the main thread, with the library `jose`: signature by an asymmetric algorithm, issuer, audience,
// times. The algorithm is the key's, never the token's to choose: secrets (HS256 and its like) and `none` are no keys here.

import { decodeJwt, errors, type JWTPayload, type JWTVerifyOptions, jwtVerify } from 'jose';
import type { Clock } from '../../mesh/runtime/clock.ts';
import { JwksCache, type JwksCacheOptions } from './jwks-cache.ts';
import { JwksError } from './jwks-error.ts';
import { defaultFetchLimits, fetchText } from './jwks-fetch.ts';
import { type KeySet, parseKeySet } from './key-set.ts';
import type { TokenAnswer, TokenJob, TokenResult, TokenRule } from './token-job.ts';

export interface TokenVerifierOptions {
  readonly clock: Clock;
  /** Told of every fetch of keys, for logs and metrics. */
  readonly onFetch?: (url: string, error: JwksError | undefined) => void;
  /** For tests; default one GET with limits. */
  readonly fetchText?: JwksCacheOptions['fetchText'];
}

const algorithms = [
  ...['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'],
  ...['ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519'],
];
/** What clocks may differ by; Envoy's default. */
const toleranceMs = 60_000;
/** Distinct inline sets that are kept parsed. */
const maxInline = 1_000;

export class TokenVerifier {
  readonly #clock: Clock;
  readonly #jwks: JwksCache;
  readonly #inline = new Map<string, KeySet>();

  constructor({ clock, onFetch, fetchText: fetchWith }: TokenVerifierOptions) {
    this.#clock = clock;
    this.#jwks = new JwksCache({
      clock,
      fetchText: fetchWith ?? ((url) => fetchText(url, defaultFetchLimits)),
      ...(onFetch && { onFetch }),
    });
  }

  /** Never rejects. */
  async verify({ id, token, rules }: TokenJob): Promise<TokenAnswer> {
    return { id, result: await this.#result(token, rules) };
  }

  /** The first rule of the token's issuer that it meets. */
  async #result(token: string, rules: readonly TokenRule[]): Promise<TokenResult> {
    const issuer = issuerOf(token);
    if (issuer === undefined) return refuse('The token can not be read');
    let result = refuse('The issuer of the token is not known');
    for (const [index, rule] of rules.entries()) {
      if (rule.issuer !== issuer) continue;
      const one = await this.#byRule(token, { rule, index });
      if (one.kind === 'valid') return one;
      // That keys are away must not be hidden by a rule that the token was not meant for.
      if (result.kind !== 'unavailable') result = one;
    }
    return result;
  }

  async #byRule(
    token: string,
    at: { readonly rule: TokenRule; readonly index: number },
  ): Promise<TokenResult> {
    const { keys } = at.rule;
    try {
      const set = keys.kind === 'url' ? await this.#jwks.keysFor(keys.url) : this.#inlineKeys(keys.jwks);
      const first = await this.#withKeys(token, set, at);
      if (first !== 'unknown-key') return first;
      const newer = keys.kind === 'url' ? await this.#jwks.newerKeys(keys.url, set) : undefined;
      const second = newer === undefined ? 'unknown-key' : await this.#withKeys(token, newer, at);
      if (second !== 'unknown-key') return second;
      return {
        kind: 'invalid',
        reason: 'The key of the token is not known',
        lasting: keys.kind === 'inline',
      };
    } catch (error) {
      if (error instanceof JwksError)
        return { kind: 'unavailable', reason: 'The keys of the issuer can not be had' };
      return refuse('The token can not be verified');
    }
  }

  async #withKeys(
    token: string,
    keys: KeySet,
    { rule, index }: { readonly rule: TokenRule; readonly index: number },
  ): Promise<TokenResult | 'unknown-key'> {
    const options: JWTVerifyOptions = {
      algorithms,
      issuer: rule.issuer,
      ...(rule.audiences.length > 0 && { audience: [...rule.audiences] }),
      clockTolerance: toleranceMs / 1000,
      currentDate: new Date(this.#clock.now()),
    };
    try {
      const payload = await verifyWithAny(token, keys, options);
      const expiresAt = payload.exp === undefined ? undefined : payload.exp * 1000 + toleranceMs;
      return { kind: 'valid', rule: index, claims: payload, expiresAt };
    } catch (error) {
      return error instanceof errors.JWKSNoMatchingKey
        ? 'unknown-key'
        : refuse(reasonOf(error), isLasting(error));
    }
  }

  /** @throws JwksError */
  #inlineKeys(jwks: string): KeySet {
    let keys = this.#inline.get(jwks);
    if (keys === undefined) {
      keys = parseKeySet(jwks);
      if (this.#inline.size >= maxInline) this.#inline.clear();
      this.#inline.set(jwks, keys);
    }
    return keys;
  }
}

/** Several keys fit a token that names none; each is tried. */
async function verifyWithAny(token: string, keys: KeySet, options: JWTVerifyOptions): Promise<JWTPayload> {
  try {
    return (await jwtVerify(token, keys, options)).payload;
  } catch (error) {
    if (!(error instanceof errors.JWKSMultipleMatchingKeys)) throw error;
    for await (const key of error) {
      try {
        return (await jwtVerify(token, key, options)).payload;
      } catch (inner) {
        if (!(inner instanceof errors.JWSSignatureVerificationFailed)) throw inner;
      }
    }
    throw new errors.JWSSignatureVerificationFailed();
  }
}

/** What the token says of itself; nothing is proven yet. */
function issuerOf(token: string): string | undefined {
  try {
    const { iss } = decodeJwt(token);
    return typeof iss === 'string' ? iss : '';
  } catch {
    return undefined;
  }
}

function refuse(reason: string, lasting = true): TokenResult {
  return { kind: 'invalid', reason, lasting };
}

/** Our own words: a token's text must not get into a header or a log. */
function reasonOf(error: unknown): string {
  if (error instanceof errors.JWTExpired) return 'The token has expired';
  if (error instanceof errors.JOSEAlgNotAllowed) return 'The algorithm of the token is not allowed';
  if (error instanceof errors.JWSSignatureVerificationFailed) return 'The signature of the token is wrong';
  if (error instanceof errors.JWTClaimValidationFailed) {
    if (error.claim === 'nbf') return 'The token is not valid yet';
    if (error.claim === 'aud') return 'The token is for another audience';
    return `The claim ${['iss', 'iat', 'exp'].includes(error.claim) ? `"${error.claim}"` : ''} of the token is wrong`;
  }
  return 'The token can not be verified';
}

/** A token that is not valid yet will be. */
function isLasting(error: unknown): boolean {
  return !(error instanceof errors.JWTClaimValidationFailed && error.claim === 'nbf');
}
