// Who calls the controller, as far as a token proves it: a node tunnel for its node, or a waypoint for itself. What each
// may then have is decided by the services; what a caller says about itself in a message decides nothing.

import type { GatewayKey } from '../../mesh/model/routing.ts';
import { waypointOwner } from '../../mesh/xds/caller.ts';

export interface NodeCaller {
  readonly kind: 'node';
  readonly node: string;
  /** Names the token in logs. */
  readonly tokenId: string;
}

export interface WaypointCaller {
  readonly kind: 'waypoint';
  readonly gateway: GatewayKey;
  readonly tokenId: string;
}

export type AuthenticatedCaller = NodeCaller | WaypointCaller;

export type AuthenticationFailureCode =
  | 'token-missing'
  | 'token-malformed'
  | 'token-unknown'
  | 'token-wrong'
  | 'token-expired'
  /** The record exists but cannot be used; the operator must look. */
  | 'token-record-unusable';

export type Authentication =
  | { readonly ok: true; readonly caller: AuthenticatedCaller }
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

/** Owner of what only this caller may see, and its name in logs: the node, or the waypoint. */
export function ownerOf(caller: AuthenticatedCaller): string {
  return caller.kind === 'node' ? caller.node : waypointOwner(caller.gateway);
}

export function refusal(code: AuthenticationFailureCode, reason: string): Authentication & { ok: false } {
  return { ok: false, code, reason };
}
