// Who speaks on a gRPC call, as far as its metadata proves it. The token decides; nothing the caller says about
// itself in a message does.

import type { Metadata } from '@grpc/grpc-js';
import type { GatewayKey } from '../model/routing.ts';

export interface CallMetadata {
  /** From `authorization: Bearer <token>`; undefined if absent, malformed or given more than once. */
  readonly token: string | undefined;
  /** Address of the peer's socket, for logs only. */
  readonly peer: string;
  /** First value of a text header. */
  get(name: string): string | undefined;
}

export interface Caller {
  /** For logs and limits, for example the node's name. */
  readonly name: string;
  /**
   * Whose resources it may see besides those of everybody: the node that the token is bound to, or a waypoint
   * (waypointOwner()). Names of nodes hold no slash, so the two are never taken for one another.
   */
  readonly node?: string;
  /** The node that the token is bound to: a client that says it runs on another one is refused. */
  readonly nodeName?: string;
}

/** Owner of what one waypoint alone is told. */
export function waypointOwner(gateway: GatewayKey): string {
  return `waypoint/${gateway}`;
}

/** Undefined means the call is refused with UNAUTHENTICATED; a rejection means UNAVAILABLE, so the caller retries. */
export type Authenticate = (call: CallMetadata) => Caller | undefined | Promise<Caller | undefined>;

export function callMetadata(metadata: Metadata, peer: string): CallMetadata {
  const authorization = metadata.get('authorization');
  const [value] = authorization.length === 1 ? authorization : [];
  const token = typeof value === 'string' ? /^Bearer +(\S+)$/i.exec(value)?.[1] : undefined;
  return {
    token,
    peer,
    get(name) {
      const [first] = metadata.get(name);
      return typeof first === 'string' ? first : undefined;
    },
  };
}
