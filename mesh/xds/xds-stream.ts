// One delta discovery stream on the server side: requests in, responses out. A type has at most one response that
// was not acknowledged, a stream at most one that was not flushed; everything else waits as names in its
// subscription. So a slow node delays nobody and costs little.

import { create } from '@bufbuild/protobuf';
import type { Logger } from '../runtime/logger.ts';
import type { Caller } from './caller.ts';
import { responseResource } from './encode-response.ts';
import type { Node } from './gen/envoy/config/core/v3/base_pb.ts';
import {
  type DeltaDiscoveryRequest,
  type DeltaDiscoveryResponse,
  DeltaDiscoveryResponseSchema,
} from './gen/envoy/service/discovery/v3/discovery_pb.ts';
import type { ResourceStore, StoreChanges } from './resource-store.ts';
import { type ResponseContent, Subscription } from './subscription.ts';
import { addressType, authorizationType, pushOrder } from './type-urls.ts';

/** What a stream does to its transport. */
export interface StreamTransport {
  /** Calls `flushed` once the message left this process. */
  write(response: DeltaDiscoveryResponse, flushed: () => void): void;
  /** Calls `send` when a large response may go out, now or later; `release` when it went. Returns how to stop waiting. */
  awaitSlot(send: (release: () => void) => void): () => void;
  /** Ends the stream; `foreign` where the client is not whom its token belongs to. */
  refuse(reason: string, cause: 'limit' | 'foreign'): void;
}

export interface StreamOptions {
  readonly caller: Caller;
  readonly store: ResourceStore;
  readonly transport: StreamTransport;
  readonly logger: Logger;
  readonly counters: XdsCounters;
  readonly maxResponseBytes: number;
}

/** Totals over all streams of a server; they only grow. */
export interface XdsCounters {
  responses: number;
  resources: number;
  nacks: number;
}

export interface StreamStatus {
  readonly caller: string;
  readonly nodeId: string;
  /** By type URL. */
  readonly types: Readonly<
    Record<string, { readonly acked: boolean; readonly nacks: number; readonly lastNack: string }>
  >;
}

interface TypeState {
  readonly subscription: Subscription;
  /** Nonce of the response that is not acknowledged yet; undefined when there is none. */
  unacked: string | undefined;
  nacks: number;
  lastNack: string;
}

/** A node asks for four types today. */
const maxTypes = 32;
/** Names asked for one by one, of one type: a mesh of 100,000 workloads, each by uid and address. */
const maxAskedNames = 200_000;
/** A NACK's text goes to the log and the status page; it may name every resource of a mesh. */
const maxNackLength = 2_000;

export class XdsStream {
  readonly #options: StreamOptions;
  readonly #types = new Map<string, TypeState>();
  #nodeId = '';
  #nonce = 0;
  #writing = false;
  /** Gives up waiting for a slot; undefined while none is awaited. */
  #stopWaiting: (() => void) | undefined;
  #closed = false;

  constructor(options: StreamOptions) {
    this.#options = options;
  }

  get caller(): Caller {
    return this.#options.caller;
  }

  onRequest(request: DeltaDiscoveryRequest): void {
    if (this.#closed) return;
    if (request.node !== undefined && this.#nodeId === '') this.#meet(request.node);
    if (this.#closed) return;
    const state = this.#types.get(request.typeUrl);
    if (state === undefined) this.#open(request);
    else {
      this.#noteResponse(request, state);
      state.subscription.update(request);
      this.#checkLimit(request.typeUrl, state.subscription);
    }
    this.#pump();
  }

  onChanges(changes: StoreChanges): void {
    for (const [typeUrl, names] of changes) this.#types.get(typeUrl)?.subscription.noteChanges(names);
    this.#pump();
  }

  /** After the transport ended; nothing is written any more. */
  close(): void {
    this.#closed = true;
    this.#stopWaiting?.();
    this.#types.clear();
  }

  status(): StreamStatus {
    const types = [...this.#types].map(([typeUrl, { unacked, nacks, lastNack }]) => [
      typeUrl,
      { acked: unacked === undefined, nacks, lastNack },
    ]);
    return { caller: this.caller.name, nodeId: this.#nodeId, types: Object.fromEntries(types) };
  }

  /** A token that was put on the wrong machine would have it work for another node, and capture nothing of its own. */
  #meet({ id, metadata }: Node): void {
    this.#nodeId = id.slice(0, 256);
    const { nodeName } = this.caller;
    const announced = metadata?.['NODE_NAME'];
    if (nodeName === undefined || typeof announced !== 'string' || announced === '' || announced === nodeName)
      return;
    this.#refuse(
      `The token is of node "${nodeName}", but this client runs on node "${announced.slice(0, 253)}": give it a token of its own node`,
      'foreign',
    );
  }

  #open(request: DeltaDiscoveryRequest): void {
    const { store, caller, maxResponseBytes } = this.#options;
    const { typeUrl } = request;
    if (this.#types.size >= maxTypes)
      return this.#refuse(`More than ${maxTypes} resource types on one stream`);
    const subscription = new Subscription(request, {
      store,
      typeUrl,
      node: caller.node || undefined,
      maxResponseBytes,
      removalsLast: typeUrl === authorizationType,
    });
    this.#types.set(typeUrl, { subscription, unacked: undefined, nacks: 0, lastNack: '' });
    this.#checkLimit(typeUrl, subscription);
  }

  /** An answer to an older response than the last is about nothing that is still open. */
  #noteResponse({ typeUrl, responseNonce, errorDetail }: DeltaDiscoveryRequest, state: TypeState): void {
    if (responseNonce === '' || responseNonce !== state.unacked) return;
    state.unacked = undefined;
    if (errorDetail === undefined) return;
    state.nacks += 1;
    state.lastNack = errorDetail.message.slice(0, maxNackLength);
    this.#options.counters.nacks += 1;
    this.#options.logger.warn(
      { caller: this.caller.name, node: this.#nodeId, typeUrl, reason: state.lastNack },
      'A node refused resources',
    );
  }

  #checkLimit(typeUrl: string, { askedNames }: Subscription): void {
    if (askedNames > maxAskedNames)
      this.#refuse(`More than ${maxAskedNames} names asked for of "${typeUrl}"`);
  }

  #refuse(reason: string, cause: 'limit' | 'foreign' = 'limit'): void {
    if (this.#closed) return;
    this.close();
    this.#options.transport.refuse(reason, cause);
  }

  #pump(): void {
    while (!this.#writing && !this.#closed && this.#stopWaiting === undefined) {
      const due = this.#nextType();
      if (due === undefined) return;
      const [, { subscription }] = due;
      if (!subscription.large) this.#say(due, () => {});
      else this.#sayLater();
    }
  }

  /** What is due is computed when its turn comes: nothing of it is held until then. */
  #sayLater(): void {
    let waiting = true;
    const stop = this.#options.transport.awaitSlot((release) => {
      waiting = false;
      this.#stopWaiting = undefined;
      const due = this.#closed ? undefined : this.#nextType();
      if (due === undefined) release();
      else this.#say(due, release);
      this.#pump();
    });
    if (waiting) this.#stopWaiting = stop;
  }

  #say([typeUrl, state]: [string, TypeState], flushed: () => void): void {
    const content = state.subscription.next();
    if (content === undefined) flushed();
    else this.#send(typeUrl, state, content, flushed);
  }

  #nextType(): [string, TypeState] | undefined {
    const due = [...this.#types].filter(
      ([typeUrl, { unacked, subscription }]) =>
        unacked === undefined && subscription.ready && !this.#mustWait(typeUrl, subscription),
    );
    return due.sort(([a], [b]) => rank(a) - rank(b))[0];
  }

  /**
   * A workload waits for the policies it may name, the end of a policy for the workloads that named it: a node never
   * has a workload without its policy in between, which would be a workload open to everybody.
   */
  #mustWait(typeUrl: string, subscription: Subscription): boolean {
    if (typeUrl === addressType) {
      const policies = this.#types.get(authorizationType)?.subscription;
      return policies !== undefined && policies.ready && !policies.onlyRemovals;
    }
    if (typeUrl !== authorizationType || !subscription.onlyRemovals) return false;
    return this.#types.get(addressType)?.subscription.ready ?? false;
  }

  #send(
    typeUrl: string,
    state: TypeState,
    { resources, removed }: ResponseContent,
    flushed: () => void,
  ): void {
    const { transport, counters } = this.#options;
    this.#nonce += 1;
    state.unacked = String(this.#nonce);
    counters.responses += 1;
    counters.resources += resources.length;
    this.#writing = true;
    const response = create(DeltaDiscoveryResponseSchema, {
      typeUrl,
      nonce: state.unacked,
      resources: resources.map(({ name, resource }) => responseResource(name, resource)),
      removedResources: [...removed],
    });
    transport.write(response, () => {
      this.#writing = false;
      flushed();
      this.#pump();
    });
  }
}

function rank(typeUrl: string): number {
  const position = pushOrder.indexOf(typeUrl);
  return position < 0 ? pushOrder.length : position;
}
