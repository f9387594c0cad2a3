// Callers known by their Kubernetes ServiceAccount token: the API server is asked (TokenReview, our audience) and its
// answer kept for as long as the token lives, at most a few minutes so that a deleted pod's token stops counting soon.
// The pod and the node a caller is on come from the claims the API server put into the token, never from the caller. A
// node tunnel speaks for its node, a pod of a waypoint for that waypoint.

import { createHash } from 'node:crypto';
import { z } from 'zod';
import type { GatewayKey } from '../../mesh/model/routing.ts';
import type { Clock } from '../../mesh/runtime/clock.ts';
import type { Logger } from '../../mesh/runtime/logger.ts';
import type { KubeClient } from '../kubernetes/kube-client.ts';
import { type Authentication, type Authenticator, refusal } from './authenticator.ts';
import { parseJoinToken } from './join-token.ts';

/** As its token names it. */
export interface WaypointPod {
  readonly namespace: string;
  readonly name: string;
  readonly serviceAccount: string;
}

/** Which pods are waypoints, as the controller knows it now. */
export interface WaypointPods {
  gatewayOf(pod: WaypointPod): GatewayKey | undefined;
}

export interface TokenReviewOptions {
  readonly client: Pick<KubeClient, 'request'>;
  readonly clock: Clock;
  readonly logger: Logger;
  /** What tokens must be made for, any of them; default `weft`, and `istio-ca` for Istio's own node tunnels. */
  readonly audiences?: readonly string[];
  /** Service accounts that may speak for a node, as `namespace/name`. */
  readonly nodeAccounts: ReadonlySet<string>;
  readonly waypoints: WaypointPods;
  /** Answers kept at once; default 10,000. The oldest goes first. */
  readonly maxCached?: number;
}

/** Whose token it is, as the API server says. What its bearer may be changes with the mesh and is not kept. */
interface Reviewed {
  readonly ok: true;
  readonly namespace: string;
  readonly serviceAccount: string;
  /** Undefined for a token that is bound to none. */
  readonly pod: string | undefined;
  readonly node: string | undefined;
}

type Refused = Authentication & { readonly ok: false };

interface Cached {
  readonly reviewed: Reviewed | Refused;
  /** Wall clock in ms. */
  readonly until: number;
}

/** A yes counts no longer than this, because a bound token ends with its pod. */
const maxTrustMs = 300_000;
/** A no is asked about again soon: the pod may just not have been known. */
const refusalMs = 10_000;
/** Of any ServiceAccount token; a longer one is not worth a request. */
const maxTokenLength = 16_384;

const nodeClaim = 'authentication.kubernetes.io/node-name';
const podClaim = 'authentication.kubernetes.io/pod-name';

const reviewSchema = z.object({
  status: z.object({
    authenticated: z.boolean().default(false),
    audiences: z.array(z.string()).default([]),
    error: z.string().optional(),
    user: z
      .object({
        username: z.string().default(''),
        extra: z.record(z.string(), z.array(z.string())).default({}),
      })
      .optional(),
  }),
});

type Review = z.infer<typeof reviewSchema>['status'];

export class TokenReviewer implements Authenticator {
  readonly #options: TokenReviewOptions;
  readonly #audiences: readonly string[];
  readonly #maxCached: number;
  readonly #cache = new Map<string, Cached>();
  /** One question a token, however many calls wait for the answer. */
  readonly #asking = new Map<string, Promise<Reviewed | Refused>>();

  constructor(options: TokenReviewOptions) {
    this.#options = options;
    this.#audiences = options.audiences ?? ['weft', 'istio-ca'];
    this.#maxCached = options.maxCached ?? 10_000;
  }

  async authenticate(authorization: string | undefined): Promise<Authentication> {
    if (authorization === undefined || authorization === '')
      return refusal('token-missing', 'No token was sent');
    const [, token = ''] = /^bearer +(\S+)$/i.exec(authorization) ?? [];
    const claims = readClaims(token);
    if (claims === undefined) {
      return refusal('token-malformed', 'Authorization is not "Bearer" and a ServiceAccount token');
    }
    // The token itself is a secret and is not kept.
    const key = createHash('sha256').update(token).digest('base64');
    const now = this.#options.clock.now();
    const cached = this.#cache.get(key);
    if (cached !== undefined && cached.until > now) return this.#admit(cached.reviewed);
    if (claims.expiresAt <= now) {
      return refusal('token-expired', `Token expired at ${new Date(claims.expiresAt).toISOString()}`);
    }
    // Saves the API server a question with a certain answer; a token that claims too much is refused by its signature.
    if (!claims.audiences.some((audience) => this.#audiences.includes(audience))) {
      return refusal(
        'token-wrong',
        `Token is for the audience "${claims.audiences.join(', ')}", not "${this.#audiences.join(', ')}"`,
      );
    }
    let asking = this.#asking.get(key);
    if (asking === undefined) {
      asking = this.#ask(token, key, claims).finally(() => this.#asking.delete(key));
      this.#asking.set(key, asking);
    }
    return this.#admit(await asking);
  }

  async #ask(token: string, key: string, claims: Claims): Promise<Reviewed | Refused> {
    let review: Review;
    try {
      review = await this.#review(token);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      this.#options.logger.warn({ reason }, 'token could not be reviewed');
      // An API server that is away costs no node its certificates: its last yes counts as long as the token lives.
      const last = this.#cache.get(key)?.reviewed;
      if (last?.ok === true && claims.expiresAt > this.#options.clock.now()) return last;
      // Our trouble, not the caller's: it shall come again.
      return refusal('token-record-unusable', reason);
    }
    const reviewed = this.#judge(review);
    const now = this.#options.clock.now();
    const until = reviewed.ok ? Math.min(claims.expiresAt, now + maxTrustMs) : now + refusalMs;
    this.#remember(key, { reviewed, until });
    return reviewed;
  }

  async #review(token: string): Promise<Review> {
    const answer = await this.#options.client.request({
      method: 'POST',
      path: '/apis/authentication.k8s.io/v1/tokenreviews',
      body: {
        apiVersion: 'authentication.k8s.io/v1',
        kind: 'TokenReview',
        spec: { token, audiences: this.#audiences },
      },
      timeoutMs: 5_000,
    });
    return reviewSchema.parse(answer).status;
  }

  #judge({ authenticated, audiences, user, error }: Review): Reviewed | Refused {
    if (!authenticated) {
      return refusal('token-unknown', `Token was refused by the API server: ${error ?? 'no reason given'}`);
    }
    // An API server that does not know audiences says yes without naming one.
    if (!audiences.some((audience) => this.#audiences.includes(audience))) {
      return refusal('token-wrong', 'Token was reviewed for no audience of ours');
    }
    const username = user?.username ?? '';
    const [, namespace, serviceAccount] = /^system:serviceaccount:([^:]+):([^:]+)$/.exec(username) ?? [];
    if (namespace === undefined || serviceAccount === undefined) {
      return refusal('token-unknown', `Token belongs to "${username}", which is no service account`);
    }
    const [node] = user?.extra[nodeClaim] ?? [];
    const [pod] = user?.extra[podClaim] ?? [];
    return { ok: true, namespace, serviceAccount, pod, node: node === '' ? undefined : node };
  }

  #admit(reviewed: Reviewed | Refused): Authentication {
    if (!reviewed.ok) return reviewed;
    const { namespace, serviceAccount, pod, node } = reviewed;
    const account = `${namespace}/${serviceAccount}`;
    const tokenId = `${account}/${pod}`;
    if (this.#options.nodeAccounts.has(account)) {
      if (node !== undefined && pod !== undefined)
        return { ok: true, caller: { kind: 'node', node, tokenId } };
      return refusal(
        'token-wrong',
        `Token of "${account}" is not bound to a pod on a node; mount it as a projected volume`,
      );
    }
    const gateway =
      pod === undefined
        ? undefined
        : this.#options.waypoints.gatewayOf({ namespace, name: pod, serviceAccount });
    if (gateway !== undefined) return { ok: true, caller: { kind: 'waypoint', gateway, tokenId } };
    return refusal(
      'token-wrong',
      `Service account "${account}" may not speak for a node, and pod "${pod ?? ''}" is no waypoint's`,
    );
  }

  #remember(key: string, cached: Cached): void {
    this.#cache.delete(key);
    this.#cache.set(key, cached);
    if (this.#cache.size <= this.#maxCached) return;
    const [oldest] = this.#cache.keys();
    if (oldest !== undefined) this.#cache.delete(oldest);
  }
}

/** Join tokens and ServiceAccount tokens (JWT) both have three parts; whatever is neither, join tokens refuse. */
export function firstOf(joinTokens: Authenticator, reviewer: Authenticator): Authenticator {
  return {
    authenticate: async (authorization) => {
      const [, bearer = ''] = /^bearer +(\S+)$/i.exec(authorization ?? '') ?? [];
      const isJwt = parseJoinToken(bearer) === undefined && /^[\w-]+\.[\w-]+\.[\w-]+$/.test(bearer);
      return await (isJwt ? reviewer : joinTokens).authenticate(authorization);
    },
  };
}

interface Claims {
  readonly audiences: readonly string[];
  /** Wall clock in ms. */
  readonly expiresAt: number;
}

const claimsSchema = z.object({
  aud: z.union([z.string(), z.array(z.string())]),
  exp: z.number(),
});

/** What the token says, unverified: good enough to refuse, never to admit. */
function readClaims(token: string): Claims | undefined {
  if (token.length > maxTokenLength) return undefined;
  const parts = token.split('.');
  if (parts.length !== 3) return undefined;
  try {
    const payload: unknown = JSON.parse(Buffer.from(parts[1] as string, 'base64url').toString('utf8'));
    const { aud, exp } = claimsSchema.parse(payload);
    return { audiences: [aud].flat(), expiresAt: exp * 1_000 };
  } catch {
    return undefined;
  }
}
