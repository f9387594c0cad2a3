// The aggregated discovery service of a controller, delta only: authenticates a stream, then lets XdsStream speak.
// Serves whatever types the store holds; a type it does not know is answered as empty.

import { Metadata, type ServerDuplexStream, status } from '@grpc/grpc-js';
import type { Clock } from '../runtime/clock.ts';
import type { Logger } from '../runtime/logger.ts';
import { authenticateCall, failCall } from './call-authentication.ts';
import type { Authenticate, Caller } from './caller.ts';
import { encodeResponse } from './encode-response.ts';
import {
  AggregatedDiscoveryService,
  type DeltaDiscoveryRequest,
  type DeltaDiscoveryResponse,
} from './gen/envoy/service/discovery/v3/discovery_pb.ts';
import type { GrpcServer } from './grpc-server.ts';
import { grpcService } from './grpc-service.ts';
import type { ResourceStore } from './resource-store.ts';
import { SendSlots } from './send-slots.ts';
import { weftHeader } from './type-urls.ts';
import { type StreamStatus, type XdsCounters, XdsStream } from './xds-stream.ts';

export interface XdsServerOptions {
  readonly store: ResourceStore;
  readonly authenticate: Authenticate;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Content bytes of one response; nodes accept 200 MiB a message (WIRE 3.1). Default 64 MiB. */
  readonly maxResponseBytes?: number;
  /** Streams one caller may hold open at once; a restart overlaps two. Default 8. */
  readonly maxStreamsPerCaller?: number;
}

type Call = ServerDuplexStream<DeltaDiscoveryRequest, DeltaDiscoveryResponse>;

export class XdsServer {
  readonly #options: XdsServerOptions;
  readonly #streams = new Map<XdsStream, Call>();
  readonly #slots: SendSlots;
  readonly #unsubscribe: () => void;
  readonly #counters: XdsCounters = { responses: 0, resources: 0, nacks: 0 };
  #closed = false;

  constructor(options: XdsServerOptions) {
    this.#options = options;
    this.#slots = new SendSlots({ clock: options.clock });
    this.#unsubscribe = options.store.subscribe((changes) => {
      for (const stream of this.#streams.keys()) stream.onChanges(changes);
    });
  }

  /** Adds the service; before the server binds. */
  register(server: GrpcServer): void {
    const { deltaAggregatedResources: delta, ...others } = grpcService(AggregatedDiscoveryService);
    const responseSerialize = encodeResponse;
    server.addService(
      { ...others, deltaAggregatedResources: { ...delta, responseSerialize } },
      {
        deltaAggregatedResources: (call: Call) => void this.#accept(call),
      },
    );
  }

  get counters(): Readonly<XdsCounters> {
    return this.#counters;
  }

  /** One entry for each open stream. */
  streams(): StreamStatus[] {
    return [...this.#streams.keys()].map((stream) => stream.status());
  }

  /** Ends every stream with UNAVAILABLE, so that nodes look for another controller. */
  close(): void {
    this.#closed = true;
    this.#unsubscribe();
    for (const [stream, call] of this.#streams) {
      stream.close();
      failCall(call, status.UNAVAILABLE, 'The controller is stopping');
    }
    this.#streams.clear();
  }

  async #accept(call: Call): Promise<void> {
    let ended = false;
    const end = () => {
      ended = true;
    };
    call.on('cancelled', end);
    // A request that does not decode ends the call; grpc-js has told the peer by then.
    call.on('error', end);
    const caller = await authenticateCall(call, this.#options);
    if (caller === undefined || ended) return;
    if (this.#closed) return failCall(call, status.UNAVAILABLE, 'The controller is stopping');
    const { maxStreamsPerCaller = 8 } = this.#options;
    const open = [...this.#streams.keys()].filter((stream) => stream.caller.name === caller.name).length;
    if (open >= maxStreamsPerCaller) {
      this.#options.logger.warn({ caller: caller.name, open }, 'Too many streams of one caller');
      return failCall(call, status.RESOURCE_EXHAUSTED, `"${caller.name}" has ${open} streams open already`);
    }
    this.#serve(call, caller);
  }

  #serve(call: Call, caller: Caller): void {
    const { store, logger, maxResponseBytes = 64 * 1024 * 1024 } = this.#options;
    const stream = new XdsStream({
      caller,
      store,
      logger,
      maxResponseBytes,
      counters: this.#counters,
      transport: {
        write: (response, flushed) => void call.write(response, flushed),
        awaitSlot: (send) => this.#slots.take(send),
        refuse: (reason, cause) => {
          logger.warn({ caller: caller.name, reason }, 'A stream was ended');
          failCall(call, cause === 'foreign' ? status.PERMISSION_DENIED : status.RESOURCE_EXHAUSTED, reason);
        },
      },
    });
    this.#streams.set(stream, call);
    logger.info({ caller: caller.name, peer: call.getPeer() }, 'A node connected');
    const leave = () => {
      if (!this.#streams.delete(stream)) return;
      stream.close();
      logger.info({ caller: caller.name }, 'A node disconnected');
    };
    call.on('cancelled', leave);
    call.on('error', leave);
    call.on('end', () => {
      leave();
      call.end();
    });
    const hello = new Metadata();
    hello.set(weftHeader, '1');
    call.sendMetadata(hello);
    call.on('data', (request: DeltaDiscoveryRequest) => stream.onRequest(request));
  }
}
