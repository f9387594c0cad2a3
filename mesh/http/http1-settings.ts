// Limits and timeouts of HTTP/1.1 connections, and what they need of the loop.

import type { Reactor } from '../io/reactor.ts';
import type { HeadLimits } from './head-gatherer.ts';

export interface Http1Settings extends HeadLimits {
  /** Server: from the first octet of a head to its last. */
  readonly headTimeoutMs: number;
  /** Server: without a request under way. */
  readonly idleTimeoutMs: number;
  /** Server: an idle connection that is to end waits this long for a request that may be on its way to it. */
  readonly drainGraceMs: number;
  /** Octets of a body that may be unconsumed before nothing more is read. */
  readonly bodyWindow: number;
  /** Octets of a body nobody wants that are read so that the connection may live on. */
  readonly maxDiscardBytes: number;
  /** Server: octets of further requests that are kept while one is under way; with more the connection ends after it. */
  readonly maxHeldBytes: number;
  /** Client: 1xx before one final response. */
  readonly maxInformational: number;
}

export const defaultHttp1Settings: Http1Settings = {
  maxHeadBytes: 64 * 1024,
  maxFields: 256,
  headTimeoutMs: 10_000,
  idleTimeoutMs: 300_000,
  drainGraceMs: 1_000,
  bodyWindow: 256 * 1024,
  maxDiscardBytes: 256 * 1024,
  maxHeldBytes: 320 * 1024,
  maxInformational: 16,
};

export type Http1Loop = Pick<Reactor, 'now' | 'after' | 'atTurnEnd'>;
