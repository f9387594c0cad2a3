// Which JWTs requests may carry and who signs them; what a waypoint checks. A token that is present must be valid, a
// token that is absent is no fault: whether one is needed says an AuthorizationPolicy (Istio's reading).

import type { Brand } from './brand.ts';
import type { GatewayKey } from './routing.ts';
import type { ServiceKey } from './service.ts';

/** `namespace/name`. */
export type RequestAuthenticationKey = Brand<string, 'RequestAuthenticationKey'>;

/** Where a token is looked for; name in lower case for headers. */
export type TokenLocation =
  | { readonly kind: 'header'; readonly name: string; readonly prefix: string }
  | { readonly kind: 'cookie' | 'query'; readonly name: string };

export interface JwtRule {
  readonly issuer: string;
  /** Empty: any audience. */
  readonly audiences: readonly string[];
  /** Keys by URL (fetched and refreshed by the waypoint) or as a JWK set in JSON. */
  readonly keys:
    | { readonly kind: 'url'; readonly url: string }
    | { readonly kind: 'inline'; readonly jwks: string };
  /** In order; never empty. */
  readonly locations: readonly TokenLocation[];
  /** Claims copied into request headers that the client can not set itself. Header names are lower case. */
  readonly claimHeaders: readonly { readonly claim: string; readonly header: string }[];
  /** The token stays in the request to the application. */
  readonly forward: boolean;
  /** The verified payload goes to the application in this header as base64url; undefined: not at all. */
  readonly payloadHeader: string | undefined;
}

export interface RequestAuthentication {
  readonly key: RequestAuthenticationKey;
  readonly namespace: string;
  /** What it holds for: workloads picked by a selector are named by the services they serve. Never empty. */
  readonly targets: readonly RequestTarget[];
  readonly rules: readonly JwtRule[];
}

/** Where a rule about requests is enforced. */
export type RequestTarget =
  | { readonly kind: 'gateway'; readonly gateway: GatewayKey }
  | { readonly kind: 'service'; readonly service: ServiceKey }
  /** Every service of the namespace, or of the mesh for `''`. */
  | { readonly kind: 'namespace'; readonly namespace: string };
