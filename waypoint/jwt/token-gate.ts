// Stands at the entry of a data worker: finds the tokens of a request, has them verified, and says who is asking. A
// verified token is remembered by its hash, so that it costs a look-up the next time. Everything is bounded; what can not
// be verified in time is refused. Verifying itself is the main thread's (token-verifier.ts).

import { hash } from 'node:crypto';
import type { VerifiedToken } from '../../mesh/authz/http-facts.ts';
import type { Header } from '../../mesh/h2/header.ts';
import type { RequestHead } from '../../mesh/http/message.ts';
import type { JwtRule } from '../../mesh/model/request-authentication.ts';
import type { Timer } from '../../mesh/runtime/clock.ts';
import { claimHeaders, protectedHeaders, withoutHeaders } from './claim-headers.ts';
import type { TokenAnswer, TokenJob, TokenResult } from './token-job.ts';
import { type FoundToken, TokenLocations, withoutTokens } from './token-locations.ts';
import { TokenMemory } from './token-memory.ts';

/** `head` is the request as it goes on: without headers that only verified tokens may set. */
export type TokenOutcome =
  | { readonly kind: 'none'; readonly head: RequestHead }
  | { readonly kind: 'valid'; readonly head: RequestHead; readonly token: VerifiedToken }
  | {
      readonly kind: 'invalid';
      readonly status: 401;
      readonly reason: string;
      /** For `www-authenticate` (RFC 6750 section 3). */
      readonly challenge: string;
    }
  /** Keys could not be had, or not in time. */
  | { readonly kind: 'unavailable'; readonly status: 503; readonly reason: string };

export type TokenDone = (outcome: TokenOutcome) => void;

export interface TokenGateOptions {
  /** To the main thread; `answer` is to follow. */
  readonly post: (job: TokenJob) => void;
  /** Wall clock, ms. */
  readonly now: () => number;
  readonly after: (delayMs: number, run: () => void) => Timer;
  /** Tokens; default 4,096. */
  readonly maxRemembered?: number;
  /** Tokens under verification, and requests that wait for one; default 1,000 and 10,000. */
  readonly maxPending?: number;
  readonly maxWaiting?: number;
  /** Default 7,000: what fetching keys may take, and a little. */
  readonly timeoutMs?: number;
}

/** Longer ones are refused unread; request heads are not much larger. */
const maxTokenLength = 16_384;
/** What one client may have under way of all that may be: others must get their turn whatever it sends. */
const clientShare = 0.1;
/** Distinct tokens in one request. */
const maxTokens = 4;
/** A list of rules, made ready; lists live as long as the configuration they are of. */
interface Plan {
  readonly id: number;
  readonly rules: readonly JwtRule[];
  readonly locations: TokenLocations;
  readonly protected: ReadonlySet<string>;
}

/** One request that waits. */
interface Waiting {
  readonly plan: Plan;
  readonly head: RequestHead;
  readonly found: readonly FoundToken[];
  readonly results: (TokenResult | undefined)[];
  readonly done: TokenDone;
  readonly client: string;
  missing: number;
}

/** A request, and which of its tokens. */
interface Waiter {
  readonly waiting: Waiting;
  readonly index: number;
}

interface Pending {
  readonly key: string;
  readonly timer: Timer;
  /** Who brought the token first. */
  readonly client: string;
  readonly waiters: Waiter[];
}

export class TokenGate {
  readonly #options: Required<TokenGateOptions>;
  readonly #plans = new WeakMap<readonly JwtRule[], Plan>();
  readonly #remembered: TokenMemory;
  readonly #pending = new Map<string, Pending>();
  readonly #byId = new Map<number, Pending>();
  readonly #pendingOf = new Map<string, number>();
  readonly #waitingOf = new Map<string, number>();
  #waiting = 0;
  #lastPlan = 0;
  #lastJob = 0;

  constructor(options: TokenGateOptions) {
    const defaults = { maxRemembered: 4_096, maxPending: 1_000, maxWaiting: 10_000, timeoutMs: 7_000 };
    this.#options = { ...defaults, ...options };
    this.#remembered = new TokenMemory(this.#options.maxRemembered);
  }

  /** Tokens under verification and requests that wait for them. */
  get load(): { readonly tokens: number; readonly requests: number } {
    return { tokens: this.#byId.size, requests: this.#waiting };
  }

  /**
   * `done` is called exactly once: before this returns when nothing is to be verified, else from `answer` or a timer.
   * `rules` must be the same array for requests under the same rules (JwtRules hands out such): memory goes by it.
   * @param client who asks, by identity or address: each has a share of what may be under way
   */
  check(head: RequestHead, rules: readonly JwtRule[], done: TokenDone, client = ''): void {
    if (rules.length === 0) return done({ kind: 'none', head });
    const plan = this.#planOf(rules);
    const found = plan.locations.find(head);
    if (found.length === 0) return done({ kind: 'none', head: withoutHeaders(head, plan.protected) });
    if (found.length > maxTokens) return done(invalid(`More than ${maxTokens} tokens in one request`));
    const results = found.map((one) => this.#resultOf(plan, one));
    const missing = results.filter((result) => result === undefined).length;
    const waiting: Waiting = { plan, head, found, results, done, client, missing };
    const { maxWaiting } = this.#options;
    const full = this.#waiting >= maxWaiting || exceeds(this.#waitingOf, client, maxWaiting);
    if (missing === 0 || full) return finish(waiting);
    this.#waiting++;
    count(this.#waitingOf, client, 1);
    for (const [index, result] of results.entries()) {
      if (result === undefined) this.#verify(waiting, index);
    }
  }

  /** From the main thread. One that comes too late is nobody's. */
  answer({ id, result }: TokenAnswer): void {
    const pending = this.#byId.get(id);
    if (pending !== undefined) this.#settle(id, pending, result);
  }

  #planOf(rules: readonly JwtRule[]): Plan {
    let plan = this.#plans.get(rules);
    if (plan === undefined) {
      const locations = new TokenLocations(rules);
      plan = { id: ++this.#lastPlan, rules, locations, protected: protectedHeaders(rules) };
      this.#plans.set(rules, plan);
    }
    return plan;
  }

  /** Undefined: has to be verified. */
  #resultOf(plan: Plan, found: FoundToken): TokenResult | undefined {
    const { token } = found;
    if (token.length > maxTokenLength) return refusal('The token is too long');
    const remembered = this.#remembered.get(keyOf(plan, found), this.#options.now());
    if (remembered !== undefined) return remembered;
    // RFC 7515 section 7.1; an encrypted token (five parts) is none of ours.
    return /^[\w-]+\.[\w-]+\.[\w-]*$/.test(token) ? undefined : refusal('The token is not a signed JWT');
  }

  #verify(waiting: Waiting, index: number): void {
    const found = waiting.found[index] as FoundToken;
    const key = keyOf(waiting.plan, found);
    const pending = this.#pending.get(key);
    if (pending !== undefined) pending.waiters.push({ waiting, index });
    else if (this.#mayStart(waiting.client)) this.#start(key, { waiting, index });
    else this.#resolve(waiting, index, unavailable('Too many tokens are being verified'));
  }

  #mayStart(client: string): boolean {
    const { maxPending } = this.#options;
    return this.#pending.size < maxPending && !exceeds(this.#pendingOf, client, maxPending);
  }

  #start(key: string, waiter: Waiter): void {
    const id = ++this.#lastJob;
    const timer = this.#options.after(this.#options.timeoutMs, () => {
      this.#settle(id, pending, unavailable('The token was not verified in time'));
    });
    const { client } = waiter.waiting;
    const pending: Pending = { key, timer, client, waiters: [waiter] };
    count(this.#pendingOf, client, 1);
    this.#pending.set(key, pending);
    this.#byId.set(id, pending);
    const { waiting, index } = waiter;
    const found = waiting.found[index] as FoundToken;
    const rules = found.rules.map((rule) => {
      const { issuer, audiences, keys } = waiting.plan.rules[rule] as JwtRule;
      return { issuer, audiences, keys };
    });
    this.#options.post({ id, token: found.token, rules });
  }

  #settle(id: number, pending: Pending, result: TokenResult): void {
    pending.timer.cancel();
    this.#byId.delete(id);
    this.#pending.delete(pending.key);
    count(this.#pendingOf, pending.client, -1);
    this.#remembered.set(pending.key, result, this.#options.now());
    for (const { waiting, index } of pending.waiters) this.#resolve(waiting, index, result);
  }

  #resolve(waiting: Waiting, index: number, result: TokenResult): void {
    waiting.results[index] = result;
    if (--waiting.missing > 0) return;
    this.#waiting--;
    count(this.#waitingOf, waiting.client, -1);
    finish(waiting);
  }
}

/** Whether one client has its share of `limit` under way. */
function exceeds(counts: ReadonlyMap<string, number>, client: string, limit: number): boolean {
  return client !== '' && (counts.get(client) ?? 0) >= Math.max(1, limit * clientShare);
}

function count(counts: Map<string, number>, client: string, by: number): void {
  const now = (counts.get(client) ?? 0) + by;
  if (now === 0) counts.delete(client);
  else counts.set(client, now);
}

/** The hash, so that no token stays in memory after its request. */
function keyOf({ id }: Plan, { token, rules }: FoundToken): string {
  return `${id} ${rules.join()} ${hash('sha256', token, 'base64url')}`;
}

function refusal(reason: string): TokenResult {
  return { kind: 'invalid', reason, lasting: true };
}

function unavailable(reason: string): TokenResult {
  return { kind: 'unavailable', reason };
}

function invalid(reason: string): TokenOutcome {
  const challenge = `Bearer error="invalid_token", error_description="${reason.replace(/["\\]/g, '')}"`;
  return { kind: 'invalid', status: 401, reason, challenge };
}

/** Every token must be valid. Of several, the one whose rule comes first says who is asking. */
function finish({ plan, head, found, results, done }: Waiting): void {
  for (const result of results) if (result?.kind === 'invalid') return done(invalid(result.reason));
  let forwarded = withoutHeaders(head, plan.protected);
  const added: Header[] = [];
  let first: { readonly rule: number; readonly token: VerifiedToken } | undefined;
  for (const [index, result] of results.entries()) {
    if (result?.kind !== 'valid') {
      const reason =
        result?.kind === 'unavailable' ? result.reason : 'Too many requests wait for their tokens';
      return done({ kind: 'unavailable', status: 503, reason });
    }
    const { token, rules } = found[index] as FoundToken;
    const at = rules[result.rule] as number;
    const rule = plan.rules[at] as JwtRule;
    if (!rule.forward) forwarded = withoutTokens(forwarded, rule.locations);
    added.push(...claimHeaders(rule, token, result.claims));
    if (first === undefined || at < first.rule) {
      first = { rule: at, token: { principal: principalOf(result), claims: result.claims } };
    }
  }
  const { token } = first as { readonly token: VerifiedToken };
  const outgoing =
    added.length === 0 ? forwarded : { ...forwarded, headers: [...forwarded.headers, ...added] };
  done({ kind: 'valid', head: outgoing, token });
}

/** `issuer/subject`; nothing for a token that names no subject. */
function principalOf({ claims }: Extract<TokenResult, { kind: 'valid' }>): string {
  const { iss, sub } = claims;
  return typeof iss === 'string' && typeof sub === 'string' && sub !== '' ? `${iss}/${sub}` : '';
}
