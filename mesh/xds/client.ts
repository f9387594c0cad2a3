// The discovery client of a proxy: one delta stream to one controller, reconnected for ever. Keeps names and
// versions of what was accepted, never the resources; those go to the handler at once. While the controller is
// away nothing is taken back.

import { create } from '@bufbuild/protobuf';
import {
  type Client,
  type ClientDuplexStream,
  type Metadata,
  type StatusObject,
  status,
} from '@grpc/grpc-js';
import type { HostPort } from '../model/ip-address.ts';
import { isEmptyDelta, type ModelDelta } from '../model/model.ts';
import { Backoff } from '../runtime/backoff.ts';
import type { Clock, Timer } from '../runtime/clock.ts';
import type { Logger } from '../runtime/logger.ts';
import { bearerMetadata } from './bearer-metadata.ts';
import { DemandList, type DemandResult } from './demand-list.ts';
import {
  AggregatedDiscoveryService,
  type DeltaDiscoveryRequest,
  DeltaDiscoveryRequestSchema,
  type DeltaDiscoveryResponse,
} from './gen/envoy/service/discovery/v3/discovery_pb.ts';
import { openChannel, parseControllerAddress } from './grpc-channel.ts';
import { grpcService } from './grpc-service.ts';
import { type DocumentDecoders, type RefusedResource, ResponseReader } from './response-reader.ts';
import {
  addressType,
  authorizationType,
  documentTypes,
  istioTypes,
  meshConfigType,
  weftHeader,
  weftTypes,
  type XdsType,
} from './type-urls.ts';
import { XdsError } from './xds-error.ts';

export type XdsClientState = 'connecting' | 'connected' | 'disconnected';

export interface XdsClientHandler {
  /** Accepted resources only; never empty. */
  onDelta(delta: ModelDelta): void;
  /** Once: every wildcard type was answered, of a Weft controller's own types too. */
  onSynced(): void;
  /** `reason` comes with `disconnected`. */
  onState(state: XdsClientState, reason?: string): void;
}

export interface XdsClientMetrics {
  /** A response of a known type arrived; `bytes` on the wire, uncompressed. */
  message(typeUrl: string, bytes: number): void;
  /** Why a stream or an attempt ended: `complete` by the server, else the gRPC status in capitals. */
  terminated(reason: string): void;
}

export interface XdsClientOptions {
  /** `host:port` or `https://host:port`. */
  readonly address: string;
  /** PEM; read again at each attempt. */
  readonly rootCertificates: () => string;
  /** A second name that the controller's certificate may have. */
  readonly serverName?: string;
  /** Read again at each attempt. */
  readonly token: () => string | undefined;
  readonly clusterId: string;
  readonly node: { readonly id: string; readonly metadata: Readonly<Record<string, string>> };
  /** `on-demand` asks for addresses one by one (demand()); policies are always complete. */
  readonly mode: 'wildcard' | 'on-demand';
  /** What the client is, and so which types it asks for; default `node`. A waypoint needs a Weft controller. */
  readonly role?: 'node' | 'waypoint';
  /** A waypoint needs them: documentDecoders of document-decoders.ts, which a node tunnel never loads. */
  readonly documents?: DocumentDecoders;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Further request headers. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly metrics?: XdsClientMetrics;
  /** For the jitter of reconnects; default Math.random. */
  readonly random?: () => number;
}

type Call = ClientDuplexStream<DeltaDiscoveryRequest, DeltaDiscoveryResponse>;

interface Attempt {
  readonly client: Client;
  readonly call: Call;
  readonly connectTimer: Timer;
  /** Monotonic ms of the moment the controller accepted the stream. */
  acceptedAt: number | undefined;
}

interface RoleTypes {
  /** Asked for at once, of any controller. */
  readonly always: readonly XdsType[];
  /** Asked for when the controller has shown that it is Weft's. */
  readonly ofWeft: readonly XdsType[];
}

/** Policies come to node tunnels as Istio's type, to waypoints whole. */
const typesOfRole: Readonly<Record<NonNullable<XdsClientOptions['role']>, RoleTypes>> = {
  node: { always: istioTypes, ofWeft: weftTypes },
  waypoint: { always: [addressType], ofWeft: [meshConfigType, ...documentTypes] },
};

/** TCP and TLS together; WIRE 3.1 has 5 s for TCP. */
const connectTimeoutMs = 10_000;
/** A stream that lived this long was a good one: the next backoff starts small. */
const stableMs = 5_000;
/** Reasons in one NACK; a whole mesh of bad resources must not become a message of its own size. */
const maxNackReasons = 100;

const { deltaAggregatedResources: method } = grpcService(AggregatedDiscoveryService);

export class XdsClient {
  readonly #options: XdsClientOptions;
  readonly #handler: XdsClientHandler;
  readonly #address: HostPort;
  readonly #backoff: Backoff;
  readonly #readers: ReadonlyMap<string, ResponseReader>;
  readonly #demands: DemandList;
  readonly #types: RoleTypes;
  readonly #awaited: Set<XdsType>;
  #attempt: Attempt | undefined;
  #retry: Timer | undefined;
  #started = false;
  #closed = false;
  #synced = false;

  /** Throws XdsError ADDRESS_INVALID. */
  constructor(options: XdsClientOptions, handler: XdsClientHandler) {
    this.#options = options;
    this.#handler = handler;
    this.#address = parseControllerAddress(options.address);
    const { random } = options;
    this.#backoff = new Backoff({ minMs: 10, maxMs: 15_000, ...(random && { random }) });
    const types = typesOfRole[options.role ?? 'node'];
    this.#types = types;
    this.#readers = new Map(
      [...types.always, ...types.ofWeft].map((type) => [
        type,
        new ResponseReader(type, { documents: options.documents }),
      ]),
    );
    this.#demands = new DemandList((names) => this.#request({ typeUrl: addressType, ...names }));
    // On demand, an istiod does not answer the empty subscription to addresses. A waypoint is nothing without its routes.
    if (options.role === 'waypoint') this.#awaited = new Set([...types.always, ...types.ofWeft]);
    else this.#awaited = new Set(options.mode === 'wildcard' ? istioTypes : [authorizationType]);
  }

  /** Connects now and after every loss; once. */
  start(): void {
    if (this.#started || this.#closed) return;
    this.#started = true;
    this.#connect();
  }

  /** Ends the stream; pending demands fail with XdsError CLOSED. The handler hears nothing more. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#retry?.cancel();
    this.#dropAttempt();
    this.#demands.close();
  }

  /**
   * On demand: asks for `<network>/<ip>`, `<namespace>/<hostname>` or a uid, and follows it from then on. The model
   * has the answer before the promise resolves. No timeout: while the controller is away only `signal` ends the wait.
   * Throws XdsError DEMAND_UNSUPPORTED in wildcard mode, DEMAND_LIMIT when too many names wait.
   */
  demand(name: string, options: { readonly signal?: AbortSignal } = {}): Promise<DemandResult> {
    if (this.#options.mode !== 'on-demand') {
      const message = `Asking for "${name}" failed: a wildcard client is told everything already`;
      return Promise.reject(new XdsError('DEMAND_UNSUPPORTED', message));
    }
    if (this.#reader(addressType).accepted.has(name)) return Promise.resolve('found');
    return this.#demands.ask(name, options);
  }

  #reader(typeUrl: XdsType): ResponseReader {
    return this.#readers.get(typeUrl) as ResponseReader;
  }

  #connect(): void {
    this.#retry = undefined;
    this.#handler.onState('connecting');
    try {
      this.#attempt = this.#open();
    } catch (error) {
      this.#metricsTerminated('CONFIGURATION');
      this.#lost(`Preparing the connection failed: ${(error as Error).message}`);
      return;
    }
    for (const typeUrl of this.#types.always) this.#subscribe(typeUrl, { withNode: true });
  }

  #open(): Attempt {
    const { rootCertificates, serverName, clock } = this.#options;
    const metadata = this.#metadata();
    const client = openChannel({ address: this.#address, rootCertificates: rootCertificates(), serverName });
    const call = client.makeBidiStreamRequest(
      method.path,
      method.requestSerialize,
      (bytes: Buffer) => this.#deserialize(bytes),
      metadata,
    );
    const connectTimer = clock.after(connectTimeoutMs, () => {
      call.cancel();
      this.#ended(call, { code: status.DEADLINE_EXCEEDED, details: 'No connection in time' });
    });
    client.waitForReady(Number.POSITIVE_INFINITY, (error) => {
      if (!error) connectTimer.cancel();
    });
    call.on('metadata', (headers) => this.#accepted(call, headers));
    call.on('data', (response) => this.#receive(call, response));
    call.on('status', (end) => this.#ended(call, end));
    // Every error is followed by a status; without a listener it would end the process.
    call.on('error', () => {});
    return { client, call, connectTimer, acceptedAt: undefined };
  }

  #deserialize(bytes: Buffer): DeltaDiscoveryResponse {
    const response = method.responseDeserialize(bytes);
    // The type becomes a metric label, so only types that were asked for count.
    if (this.#readers.has(response.typeUrl)) this.#options.metrics?.message(response.typeUrl, bytes.length);
    return response;
  }

  #metadata(): Metadata {
    const { token, clusterId, headers = {} } = this.#options;
    const metadata = bearerMetadata(token(), clusterId);
    for (const [name, value] of Object.entries(headers)) metadata.set(name, value);
    return metadata;
  }

  /** The first request of a type on a stream; reader and demands say what is known already. */
  #subscribe(typeUrl: XdsType, { withNode = false } = {}): void {
    const onDemand = typeUrl === addressType && this.#options.mode === 'on-demand';
    const versions = new Map(this.#reader(typeUrl).accepted.versions());
    if (onDemand) for (const name of this.#demands.names()) versions.set(name, '');
    const { id, metadata } = this.#options.node;
    this.#request({
      typeUrl,
      ...(withNode && { node: { id, metadata: { ...metadata } } }),
      ...(onDemand && { subscribe: ['*'], unsubscribe: ['*'] }),
      versions,
    });
  }

  #request(request: {
    typeUrl: string;
    node?: { id: string; metadata: Record<string, string> };
    subscribe?: readonly string[];
    unsubscribe?: readonly string[];
    versions?: ReadonlyMap<string, string>;
    nonce?: string;
    error?: string;
  }): void {
    const { typeUrl, node, subscribe = [], unsubscribe = [], versions, nonce = '', error } = request;
    this.#attempt?.call.write(
      create(DeltaDiscoveryRequestSchema, {
        typeUrl,
        ...(node && { node }),
        resourceNamesSubscribe: [...subscribe],
        resourceNamesUnsubscribe: [...unsubscribe],
        initialResourceVersions: Object.fromEntries(versions ?? []),
        responseNonce: nonce,
        ...(error !== undefined && { errorDetail: { message: error } }),
      }),
    );
  }

  /** Response headers: the controller took the token. Only a Weft controller is asked for Weft's own types. */
  #accepted(call: Call, headers: Metadata): void {
    const attempt = this.#attempt;
    if (attempt?.call !== call) return;
    attempt.acceptedAt = this.#options.clock.monotonic();
    this.#handler.onState('connected');
    if (headers.get(weftHeader).length === 0) {
      if (this.#options.role === 'waypoint')
        this.#options.logger.error(
          {},
          'The controller is not of Weft: it has no configuration for a waypoint',
        );
      return;
    }
    for (const typeUrl of this.#types.ofWeft) {
      if (!this.#synced) this.#awaited.add(typeUrl);
      this.#subscribe(typeUrl);
    }
  }

  #receive(call: Call, response: DeltaDiscoveryResponse): void {
    if (this.#attempt?.call !== call) return;
    const { typeUrl, nonce } = response;
    const reader = this.#readers.get(typeUrl);
    if (reader === undefined) {
      this.#options.logger.warn({ typeUrl }, 'The controller sent a type that was not asked for');
      this.#request({ typeUrl, nonce, error: `Type "${typeUrl}" was not asked for` });
      return;
    }
    const { delta, refused } = reader.read(response);
    if (!isEmptyDelta(delta)) this.#handler.onDelta(delta);
    if (refused.length > 0) this.#logRefused(typeUrl, refused);
    this.#request({ typeUrl, nonce, ...(refused.length > 0 && { error: nackText(refused) }) });
    if (typeUrl === addressType) this.#answerDemands(response, reader);
    this.#noteAnswered(typeUrl as XdsType);
  }

  /** A resource that was refused and is not known from before answers nothing: the server sends it again. */
  #answerDemands(
    { resources, removedResources }: DeltaDiscoveryResponse,
    { accepted }: ResponseReader,
  ): void {
    for (const { name } of resources) if (accepted.has(name)) this.#demands.answer(name, 'found');
    for (const name of removedResources) if (!accepted.has(name)) this.#demands.answer(name, 'absent');
  }

  #noteAnswered(typeUrl: XdsType): void {
    this.#awaited.delete(typeUrl);
    if (this.#synced || this.#awaited.size > 0 || this.#closed) return;
    this.#synced = true;
    this.#handler.onSynced();
  }

  #logRefused(typeUrl: string, refused: readonly RefusedResource[]): void {
    const fields = { typeUrl, count: refused.length, reasons: nackText(refused.slice(0, 10)) };
    this.#options.logger.warn(fields, 'Resources were refused; their last good state stays');
  }

  #ended(call: Call, { code, details }: Pick<StatusObject, 'code' | 'details'>): void {
    const attempt = this.#attempt;
    if (attempt?.call !== call) return;
    const lived = attempt.acceptedAt === undefined ? 0 : this.#options.clock.monotonic() - attempt.acceptedAt;
    if (lived >= stableMs) this.#backoff.reset();
    this.#dropAttempt();
    const name = status[code] ?? String(code);
    this.#metricsTerminated(code === status.OK ? 'complete' : name);
    this.#lost(
      code === status.OK ? 'The controller ended the stream' : `${name}: ${tidy(details)}${hint(code)}`,
    );
  }

  #lost(reason: string): void {
    if (this.#closed) return;
    const delayMs = this.#backoff.next();
    const { logger, clock } = this.#options;
    logger.warn(
      { reason, delayMs, address: this.#options.address },
      'No stream to the controller; the last good state stays',
    );
    this.#retry = clock.after(delayMs, () => this.#connect());
    this.#handler.onState('disconnected', reason);
  }

  #dropAttempt(): void {
    const attempt = this.#attempt;
    if (attempt === undefined) return;
    this.#attempt = undefined;
    attempt.connectTimer.cancel();
    attempt.call.cancel();
    attempt.client.close();
  }

  #metricsTerminated(reason: string): void {
    this.#options.metrics?.terminated(reason);
  }
}

/** The form of WIRE 3.1: `name: reason; name: reason`. */
function nackText(refused: readonly RefusedResource[]): string {
  const shown = refused.slice(0, maxNackReasons).map(({ name, reason }) => `${name}: ${reason}`);
  const rest = refused.length - shown.length;
  return rest > 0 ? `${shown.join('; ')}; and ${rest} more` : shown.join('; ');
}

/** OpenSSL's errors end in a line feed, and grpc-js appends an empty note about name resolution. */
function tidy(details: string): string {
  return details.replace(/\s+/g, ' ').replace(/[ .]*Resolution note: *$/, '');
}

function hint(code: status): string {
  if (code === status.UNAUTHENTICATED) return '; is the token expired, or made for another controller?';
  if (code === status.UNAVAILABLE) return '; is the controller running, and do the roots belong to it?';
  return '';
}
