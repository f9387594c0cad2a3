// One request of a client and its answer: takes what the client sends, gets it answered by an endpoint or answers it
// here, and passes the answer on. Knows no HTTP version and decides nothing about routes; what was decided comes by
// `forward` or `reply`. States: deciding -> forwarding -> answering -> over; each ends in exactly one record.

import type { LiveSetItem } from '../../mesh/runtime/live-set.ts';
import type { ConnectionFacts } from '../../mesh/authz/connection.ts';
import { ErrorCode } from '../../mesh/h2/error.ts';
import { type Header, headerValue } from '../../mesh/h2/header.ts';
import { parseResponseHead, type RequestHead } from '../../mesh/http/message.ts';
import type { HttpStream, HttpStreamHandler } from '../../mesh/http/stream.ts';
import { allowedTrailers } from '../../mesh/http/trailer-fields.ts';
import { Slab } from '../../mesh/io/slab.ts';
import type { HttpFilter } from '../../mesh/model/routing.ts';
import { explained } from '../explain-policy.ts';
import { protectedHeaders } from '../jwt/claim-headers.ts';
import { applyResponseFilters } from '../routing/response-filters.ts';
import { BodyPipe, headRoom, maxKeptBytes } from './body-pipe.ts';
import type { ClientConnection } from './client-connection.ts';
import type { DestinationView } from './destination-view.ts';
import type { ForwardedResponse, ForwardOwner, ForwardRequest } from './forwarding.ts';
import { Forwarding } from './forwarding.ts';
import { GrpcMessageCounter, grpcStatusIn } from './grpc.ts';
import { formatLocalReply, type LocalReply, maxReplyBytes } from './local-reply.ts';
import type { RequestRecord, ResponseFlag } from './request-record.ts';
import type { RequestWorld } from './request-world.ts';
import type { SideRequest } from './side-request.ts';
import type { UpstreamEndpoint } from './upstream/upstream.ts';

/** What changes on the way back; made only where something does. */
export interface ResponseChanges {
  /** Of the rule and of the backend, in that order. */
  readonly filters: readonly HttpFilter[];
  /** Added to whatever is answered. */
  readonly extra: readonly Header[];
  /** Names the endpoint that answered to the client. */
  readonly sessionHeader?: (endpoint: UpstreamEndpoint) => Header | undefined;
}

const DECIDING = 0;
const FORWARDING = 1;
const ANSWERING = 2;
const OVER = 3;

const replySlab = new Slab(headRoom + maxReplyBytes);

export class Exchange implements HttpStreamHandler, ForwardOwner, LiveSetItem {
  place = -1;
  readonly world: RequestWorld;
  readonly client: ClientConnection;
  readonly view: DestinationView;
  readonly record: RequestRecord;
  /** As policies and routes see it: the target in normal form. */
  readonly head: RequestHead;
  /** The request has no body. */
  readonly bodiless: boolean;
  /** What policies were asked about; asked again when they change. */
  facts: ConnectionFacts | undefined;
  changes: ResponseChanges | undefined;
  /** Tells a client that may know which policy decided. */
  explanation: Header | undefined;
  /** Bounds the body, octets; 0 none. */
  maxBodyBytes = 0;
  /** Where the decision waits: a fault's delay, a token, an authorization service. */
  pending: { cancel(): void } | undefined;
  /** Trace context for the endpoint. */
  traceHeaders: readonly Header[] | undefined;
  /** Asked before each try; the endpoint's own policies may refuse. */
  admits: ((endpoint: UpstreamEndpoint) => LocalReply | undefined) | undefined;
  #stream: HttpStream;
  /** Copies of the request under way. */
  #mirrors: readonly SideRequest[] | undefined;
  #state = DECIDING;
  #body: BodyPipe | undefined;
  #answer: BodyPipe | undefined;
  #forwarding: Forwarding | undefined;
  #upgraded = false;
  #requestMessages: GrpcMessageCounter | undefined;
  #responseMessages: GrpcMessageCounter | undefined;
  #onEnd: (exchange: Exchange) => void;
  #endpoint: UpstreamEndpoint | undefined;
  #collecting: { readonly bytes: number; readonly done: (body: Buffer) => void } | undefined;
  /** Bytes moved when idleness was last looked at. */
  #movedBefore = -1;

  constructor(
    world: RequestWorld,
    request: {
      readonly stream: HttpStream;
      readonly client: ClientConnection;
      readonly view: DestinationView;
      readonly head: RequestHead;
      readonly record: RequestRecord;
      readonly endStream: boolean;
      readonly onEnd: (exchange: Exchange) => void;
    },
  ) {
    this.world = world;
    this.client = request.client;
    this.view = request.view;
    this.head = request.head;
    this.record = request.record;
    this.bodiless = request.endStream;
    this.#stream = request.stream;
    this.#onEnd = request.onEnd;
    if (!request.endStream) {
      this.#body = new BodyPipe(world.budget, request.stream);
      // From the first byte on: bytes may come long before it is known whether they have to be sent twice.
      this.#body.keep();
    }
    if (request.record.grpc) {
      this.#requestMessages = new GrpcMessageCounter();
      this.#responseMessages = new GrpcMessageCounter();
    }
  }

  get over(): boolean {
    return this.#state === OVER;
  }

  /** Octets of the body that came until now. */
  get receivedBytes(): number {
    return this.#body?.bytes ?? 0;
  }

  /** Sends the request on. Once, unless `reply` came first. */
  forward(request: ForwardRequest): void {
    if (this.#state !== DECIDING) return;
    this.#state = FORWARDING;
    if (request.upgrade) this.#body?.forgetKept();
    this.#forwarding = new Forwarding(this.world.upstream, request, this, this.#body);
    this.#forwarding.start();
  }

  /** Copies of the request get its body, too: from its first octet on, or they are given up. */
  copyTo(mirrors: readonly SideRequest[]): void {
    const body = this.#body;
    if (body === undefined) return;
    const before = this.#state === OVER ? undefined : body.whole();
    if (before === undefined) {
      for (const mirror of mirrors) mirror.giveUp();
      return;
    }
    if (before.length > 0) {
      const slab = new Slab(headRoom + before.length);
      before.copy(slab.bytes, headRoom);
      for (const mirror of mirrors) mirror.data(slab, headRoom, before.length);
    }
    if (body.ended) for (const mirror of mirrors) mirror.end();
    this.#mirrors = mirrors;
  }

  /** Calls back with the first bytes of the body: all of it, or `bytes` (at most 64 KiB). At once if they are there. */
  collectBody(bytes: number, done: (body: Buffer) => void): void {
    const body = this.#body;
    if (body === undefined) return done(Buffer.alloc(0));
    this.#collecting = { bytes: Math.min(bytes, maxKeptBytes), done };
    this.#collected(body);
  }

  #collected(body: BodyPipe): void {
    const wanted = this.#collecting;
    if (wanted === undefined || (!body.ended && body.bytes < wanted.bytes)) return;
    this.#collecting = undefined;
    wanted.done(body.kept().subarray(0, wanted.bytes));
  }

  /** Answers the request here. Only the first answer counts. */
  reply(reply: LocalReply): void {
    if (this.#state > FORWARDING) return;
    this.#forwarding?.cancel();
    this.#state = ANSWERING;
    this.#pendingOver();
    this.#note(reply.flag, reply.details);
    const { record } = this;
    const bodiless = record.request.method === 'HEAD';
    const { headers, body } = formatLocalReply(reply, { grpc: record.grpc, bodiless });
    this.#setStatus(headers);
    this.#sendHead(headers, body === '');
    if (body === '') return this.#answered();
    const answer = this.#openAnswer(undefined);
    const length = replySlab.bytes.write(body, headRoom, 'latin1');
    answer.data(replySlab, headRoom, length);
    answer.end();
    if (answer.finished) this.#answered();
  }

  /** Ends it wherever it is: by an answer if none has begun, else by a reset. */
  cut(status: number, flag: ResponseFlag, details: string): void {
    if (this.#state <= FORWARDING) return this.reply({ status, flag, details });
    if (this.#state === ANSWERING) this.#abort(flag, details, ErrorCode.CANCEL);
  }

  /** Asks the policies again; cuts what they deny now. */
  recheck(): void {
    if (this.#state === OVER || this.facts === undefined) return;
    const reason = this.world.deniedNow(this.view, this.facts, this.#endpoint);
    if (reason !== undefined) this.cut(403, 'UAEX', `${reason} (policy change)`);
  }

  /** Cuts what has not moved a byte since the last look, for one that waits for its answer longer than its timeout. */
  checkIdle(): void {
    const moved = this.#moved();
    if (moved !== this.#movedBefore) {
      this.#movedBefore = moved;
      return;
    }
    this.cut(504, 'SI', 'no byte either way for the idle time');
  }

  // The client's side.

  onHeaders(headers: readonly Header[]): void {
    this.#body?.trailers(allowedTrailers(headers, protectedHeaders(this.view.tokenRules)));
  }

  onData(slab: Slab, offset: number, length: number): void {
    const body = this.#body;
    if (body === undefined || this.#state === OVER) return this.#stream.consume(length);
    this.#requestMessages?.add(slab, offset, length);
    if (this.maxBodyBytes > 0 && body.bytes + length > this.maxBodyBytes && this.#state <= FORWARDING) {
      this.#stream.consume(length);
      return this.reply({
        status: 413,
        flag: 'DPE',
        details: `the body is larger than ${this.maxBodyBytes} bytes`,
        text: 'the request is too large',
      });
    }
    if (this.#state === ANSWERING && this.#forwarding === undefined) return this.#stream.consume(length);
    if (this.#mirrors !== undefined) for (const mirror of this.#mirrors) mirror.data(slab, offset, length);
    if (!body.data(slab, offset, length))
      return this.cut(503, 'LR', 'the buffer budget of this waypoint is spent by slow readers');
    if (this.#collecting !== undefined) this.#collected(body);
  }

  onEnd(): void {
    const body = this.#body;
    if (body === undefined || this.#state === OVER) return;
    if (this.#mirrors !== undefined) for (const mirror of this.#mirrors) mirror.end();
    body.end();
    if (this.#collecting !== undefined) this.#collected(body);
    if (this.#upgraded) this.#upgradeEnds();
  }

  /** One direction of an upgraded connection has ended: the other may go on as long as it moves. */
  #watchHalf(): void {
    const { reactor, halfClosedTimeoutMs } = this.world;
    if (halfClosedTimeoutMs === 0 || this.pending !== undefined) return;
    const before = this.#moved();
    this.pending = reactor.after(halfClosedTimeoutMs, () => {
      this.pending = undefined;
      if (this.#moved() === before) this.cut(504, 'SI', 'half closed, and no byte for the time that may be');
      else this.#watchHalf();
    });
  }

  #moved(): number {
    return (this.#body?.bytes ?? 0) + (this.#answer?.bytes ?? 0) - this.#waiting();
  }

  onReset(code: number): void {
    if (this.#state === OVER) return;
    const broke = code === ErrorCode.PROTOCOL_ERROR || code === ErrorCode.ENHANCE_YOUR_CALM;
    this.#note(broke ? 'DPE' : 'DC', broke ? 'the client broke the protocol' : 'the client gave up');
    this.#forwarding?.cancel();
    this.#finish();
  }

  onWritable(): void {
    const answer = this.#answer;
    if (answer === undefined) return;
    answer.drain();
    if (answer.finished && this.#state === ANSWERING) this.#answered();
  }

  // The endpoint's side.

  onTry(endpoint: UpstreamEndpoint): LocalReply | undefined {
    this.record.attempts++;
    this.#isAt(endpoint);
    return this.admits?.(endpoint);
  }

  #isAt(endpoint: UpstreamEndpoint): void {
    const { record } = this;
    record.endpoint = endpoint.workload;
    record.endpointAddress = endpoint.place.address;
    record.endpointPort = endpoint.place.port;
    this.#endpoint = endpoint;
  }

  onInformational(headers: readonly Header[]): void {
    if (this.#state === FORWARDING && this.record.version !== '1.0') this.#stream.respond(headers, false);
  }

  onResponse(
    status: number,
    headers: readonly Header[],
    { endStream, stream, exhausted, endpoint }: ForwardedResponse,
  ): void {
    const { record } = this;
    this.#state = ANSWERING;
    if (endpoint !== this.#endpoint) this.#isAt(endpoint);
    record.status = status;
    record.responseMs = this.world.now() - record.startedMs;
    if (exhausted) this.#note('URX', `status ${status} after ${record.attempts} tries`);
    if (record.grpc) record.grpcStatus = grpcStatusIn(headers);
    if (status === 101) {
      this.#upgraded = true;
      this.#forwarding?.switchOffTimeouts();
    }
    const answer = endStream ? undefined : this.#openAnswer(stream);
    this.#sendHead(headers, endStream);
    if (endStream) return this.#answered();
    if (answer !== undefined && this.#state === ANSWERING) answer.target = this.#stream;
  }

  onResponseData(slab: Slab, offset: number, length: number): void {
    const answer = this.#answer;
    if (answer === undefined) return;
    this.#responseMessages?.add(slab, offset, length);
    if (!answer.data(slab, offset, length))
      this.#abort(
        'LR',
        'the buffer budget of this waypoint is spent by slow readers',
        ErrorCode.ENHANCE_YOUR_CALM,
      );
  }

  onResponseTrailers(headers: readonly Header[]): void {
    if (this.record.grpc) this.record.grpcStatus = grpcStatusIn(headers);
    this.#answer?.trailers(allowedTrailers(headers));
  }

  onResponseEnd(): void {
    const answer = this.#answer;
    if (answer === undefined || this.#state !== ANSWERING) return;
    answer.end();
    if (answer.finished) this.#answered();
  }

  onNoResponse(reply: LocalReply): void {
    this.#forwarding = undefined;
    this.reply(reply);
  }

  onBroken(flag: ResponseFlag, details: string): void {
    this.#abort(flag, details, ErrorCode.INTERNAL_ERROR);
  }

  #openAnswer(source: HttpStream | undefined): BodyPipe {
    const answer = new BodyPipe(this.world.budget, source);
    this.#answer = answer;
    if (source === undefined) answer.target = this.#stream;
    return answer;
  }

  #sendHead(headers: readonly Header[], endStream: boolean): void {
    const { changes, explanation } = this;
    const changed = changes === undefined ? headers : this.#changed(headers, changes);
    this.#stream.respond(explanation === undefined ? changed : explained(changed, explanation), endStream);
  }

  #changed(headers: readonly Header[], changes: ResponseChanges): readonly Header[] {
    const head = applyResponseFilters(changes.filters, parseResponseHead(headers), this.record.request);
    const list: Header[] = [headers[0] as Header, ...head.headers, ...changes.extra];
    const session = this.#endpoint === undefined ? undefined : changes.sessionHeader?.(this.#endpoint);
    if (session !== undefined && this.#forwarding !== undefined) list.push(session);
    return list;
  }

  #setStatus(headers: readonly Header[]): void {
    const { record } = this;
    record.status = Number(headers[0]?.[1]);
    if (record.grpc) record.grpcStatus = Number(headerValue(headers, 'grpc-status') ?? '2');
    record.responseMs = this.world.now() - record.startedMs;
  }

  /** The answer was passed on in whole. */
  #answered(): void {
    // Sending may have lost the connection, and with it all this.
    if (this.#state === OVER) return;
    if (this.#upgraded) return this.#upgradeEnds();
    this.#forwarding?.complete();
    // What the client still sends is not wanted (RFC 9113 section 8.1).
    if (this.#body !== undefined && !this.#body.ended) this.#stream.reset(ErrorCode.NO_ERROR);
    this.#finish();
  }

  /** Both directions of an upgraded connection end on their own. */
  #upgradeEnds(): void {
    const { ended } = this.#body ?? { ended: true };
    if (!ended || this.#answer?.finished !== true) return this.#watchHalf();
    this.#forwarding?.complete();
    this.#finish();
  }

  #abort(flag: ResponseFlag, details: string, code: number): void {
    if (this.#state === OVER) return;
    this.#note(flag, details);
    this.#stream.reset(code);
    this.#forwarding?.cancel();
    this.#finish();
  }

  #note(flag: ResponseFlag, details: string): void {
    const { record } = this;
    if (record.flag === '' || record.flag === 'DI') record.flag = flag;
    if (record.details === '') record.details = details;
  }

  #waiting(): number {
    return (this.#body?.waiting ?? 0) + (this.#answer?.waiting ?? 0);
  }

  #pendingOver(): void {
    this.pending?.cancel();
    this.pending = undefined;
  }

  #finish(): void {
    if (this.#state === OVER) return;
    this.#state = OVER;
    this.#collecting = undefined;
    this.#pendingOver();
    const { record } = this;
    record.requestBytes = this.receivedBytes;
    record.responseBytes = this.#answer?.bytes ?? 0;
    record.requestMessages = this.#requestMessages?.messages ?? 0;
    record.responseMessages = this.#responseMessages?.messages ?? 0;
    record.durationMs = this.world.now() - record.startedMs;
    this.#body?.clear();
    this.#answer?.clear();
    if (this.#mirrors !== undefined) for (const mirror of this.#mirrors) mirror.sourceGone();
    this.#onEnd(this);
  }
}
