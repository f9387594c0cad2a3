// What a data worker and the main thread say to each other about tokens. Structured-clone safe. Verifying is
// asynchronous work with promises, which never runs in a data worker.

import type { Claims } from '../../mesh/authz/http-facts.ts';
import type { JwtRule } from '../../mesh/model/request-authentication.ts';

/** What verifying needs of a rule. */
export type TokenRule = Pick<JwtRule, 'issuer' | 'audiences' | 'keys'>;

export interface TokenJob {
  /** Of the worker's gate; comes back with the answer. */
  readonly id: number;
  readonly token: string;
  /** Those in whose locations the token was found. Never empty. */
  readonly rules: readonly TokenRule[];
}

export type TokenResult =
  | {
      readonly kind: 'valid';
      /** Index in the job's rules of the one that was met. */
      readonly rule: number;
      readonly claims: Claims;
      /** Wall clock, ms; undefined: the token has no end. */
      readonly expiresAt: number | undefined;
    }
  | {
      readonly kind: 'invalid';
      readonly reason: string;
      /** Whether asking again soon would give the same answer. */
      readonly lasting: boolean;
    }
  /** The keys could not be had. */
  | { readonly kind: 'unavailable'; readonly reason: string };

export interface TokenAnswer {
  readonly id: number;
  readonly result: TokenResult;
}
