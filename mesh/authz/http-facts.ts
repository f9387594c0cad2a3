// What an L7 rule is asked about: the facts of one request in the form rules compare, computed when a rule first asks.
// A request keeps its facts, so that a later change of policies can be decided about while it is still under way.

import { normalizePath } from '../http/path.ts';
import type { RequestHead } from '../http/message.ts';

export interface HttpFacts {
  /** Lower case, without port and without a trailing dot; `''` when the request named none. */
  readonly host: string;
  readonly method: string;
  /** Normalised, without the query. */
  readonly path: string;
  /** `issuer/subject` of the verified token; `''` without one. */
  readonly requestPrincipal: string;
  /** Of the verified token; undefined without one. */
  readonly claims: Claims | undefined;
  /** Each field line apart, in order; `name` is lower case. Empty if there is none. */
  headers(name: string): readonly string[];
}

export type Claims = Readonly<Record<string, unknown>>;

export interface VerifiedToken {
  /** `issuer/subject`. */
  readonly principal: string;
  readonly claims: Claims;
}

/** The facts of a request that was received. Path and host are computed on demand, once. */
export class RequestFacts implements HttpFacts {
  readonly #head: RequestHead;
  readonly #token: VerifiedToken | undefined;
  #host: string | undefined;
  #path: string | undefined;

  constructor(head: RequestHead, token: VerifiedToken | undefined) {
    this.#head = head;
    this.#token = token;
  }

  get host(): string {
    this.#host ??= hostOf(this.#head.authority);
    return this.#host;
  }

  get method(): string {
    return this.#head.method;
  }

  get path(): string {
    this.#path ??= pathOf(this.#head.path);
    return this.#path;
  }

  get requestPrincipal(): string {
    return this.#token === undefined ? '' : this.#token.principal;
  }

  get claims(): Claims | undefined {
    return this.#token?.claims;
  }

  headers(name: string): readonly string[] {
    let values: string[] | undefined;
    for (const [key, value] of this.#head.headers) {
      if (key !== name) continue;
      if (values === undefined) values = [value];
      else values.push(value);
    }
    return values ?? none;
  }
}

const none: readonly string[] = Object.freeze([]);

/** The host of an authority as rules compare it. */
export function hostOf(authority: string): string {
  const at = authority.lastIndexOf('@');
  const start = at + 1;
  let end = authority.length;
  const bracket = authority.charCodeAt(start) === 0x5b ? authority.indexOf(']', start) : -1;
  const colon = authority.indexOf(':', bracket === -1 ? start : bracket);
  if (colon !== -1) end = colon;
  if (end > start + 1 && authority.charCodeAt(end - 1) === 0x2e) end--;
  return authority.slice(start, end).toLowerCase();
}

function pathOf(target: string): string {
  const query = target.indexOf('?');
  return normalizePath(query === -1 ? target : target.slice(0, query));
}
