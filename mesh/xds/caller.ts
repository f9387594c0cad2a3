// Who speaks on a gRPC call, as far as its metadata proves it. The token decides; nothing the caller says about
// itself in a message does.

import type { Metadata } from '@grpc/grpc-js';

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
  /** The node the token is bound to; without it the caller sees no resource that belongs to a node. */
  readonly node?: string;
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
