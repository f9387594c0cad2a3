// Asks an authorization service about a request before it goes on (GEP-1494), over HTTP or gRPC. Fails closed: whoever
// can not be asked has not agreed. The answer is one of two values; what it means for the request is the caller's.

import type { Header } from '../../../mesh/h2/header.ts';
import { headerValue } from '../../../mesh/h2/header.ts';
import type { RequestHead } from '../../../mesh/http/message.ts';
import type { HttpStream } from '../../../mesh/http/stream.ts';
import { Slab } from '../../../mesh/io/slab.ts';
import type { ExternalAuthFilter } from '../../../mesh/model/routing.ts';
import { BodyPipe, headRoom } from '../body-pipe.ts';
import type { Exchange } from '../exchange.ts';
import { type ForwardOwner, Forwarding, type ForwardRequest } from '../forwarding.ts';
import { grpcStatusIn } from '../grpc.ts';
import type { LocalReply } from '../local-reply.ts';
import { type CheckResponse, decodeCheckResponse, encodeCheck } from './check-message.ts';

export type AuthOutcome =
  | {
      readonly kind: 'allowed';
      /** Take the place of what the client sent by these names. */
      readonly set: readonly Header[];
      readonly remove: readonly string[];
      readonly response: readonly Header[];
    }
  | { readonly kind: 'denied'; readonly reply: LocalReply };

/** Long enough for a service that looks something up; a request that waits longer is not served well anyway. */
const checkTimeoutMs = 5_000;
/** Of an answer; more is no answer of an authorization service. */
const maxAnswerBytes = 64 * 1024;
const checkPath = '/envoy.service.auth.v3.Authorization/Check';
const noRetry = { attempts: 1, codes: [], unsafe: false, backoff: { baseMs: 10, floorMs: 0 } } as const;

/** Fields that describe the answer, not the request it was given for; and what would change whom the request is for. */
const notCopied = new Set([
  'connection',
  'content-encoding',
  'content-length',
  'content-type',
  'date',
  'host',
  'server',
  'transfer-encoding',
]);

export class ExternalAuth implements ForwardOwner {
  #filter: ExternalAuthFilter;
  #done: (outcome: AuthOutcome) => void;
  #forwarding: Forwarding | undefined;
  #body: BodyPipe;
  #stream: HttpStream | undefined;
  #status = 0;
  #headers: readonly Header[] = [];
  #trailers: readonly Header[] | undefined;
  #parts: Buffer[] = [];
  #size = 0;
  #over = false;

  /** @param done called once, later; not after `cancel` */
  constructor(exchange: Exchange, filter: ExternalAuthFilter, done: (outcome: AuthOutcome) => void) {
    this.#filter = filter;
    this.#done = done;
    this.#body = new BodyPipe(exchange.world.budget, undefined);
  }

  /** @param body what may be sent of the request's body */
  start(exchange: Exchange, head: RequestHead, body: Buffer): void {
    const { world } = exchange;
    const { target, protocol } = this.#filter;
    const service = target.kind === 'service' ? world.snapshot.serviceByKey(target.service) : undefined;
    if (target.kind !== 'service' || service === undefined)
      return this.#failed(
        target.kind === 'invalid' ? target.reason : 'the authorization service is not in the mesh',
      );
    const sent =
      protocol === 'grpc' ? encodeCheck(checkOf(exchange, head, { filter: this.#filter, body })) : body;
    const appProtocol = service.ports.find(({ servicePort }) => servicePort === target.port)?.appProtocol;
    const request: ForwardRequest = {
      headers:
        protocol === 'grpc'
          ? grpcHeaders(service.hostname)
          : httpHeaders(exchange, head, { filter: this.#filter, length: sent.length }),
      method: protocol === 'grpc' ? 'POST' : head.method,
      endStream: sent.length === 0,
      upgrade: false,
      protocol: protocol === 'grpc' || appProtocol === 'http2' ? 'http2' : 'http1',
      target: {
        kind: 'service',
        service,
        port: target.port,
        family: 4,
        hash: undefined,
        preferred: undefined,
      },
      settings: service.trafficPolicy?.http,
      retry: noRetry,
      timeouts: { requestMs: checkTimeoutMs, perTryMs: undefined },
      startedMs: world.now(),
      connectTimeoutMs: world.connectTimeoutMs,
      maxRequestsPerConnection: 0,
    };
    const pipe = sent.length === 0 ? undefined : this.#body;
    if (pipe !== undefined) {
      pipe.keep();
      const slab = new Slab(headRoom + sent.length);
      sent.copy(slab.bytes, headRoom);
      pipe.data(slab, headRoom, sent.length);
      pipe.end();
    }
    this.#forwarding = new Forwarding(world.upstream, request, this, pipe);
    this.#forwarding.start();
  }

  /** The answer is not wanted any more. Idempotent. */
  cancel(): void {
    if (this.#over) return;
    this.#over = true;
    this.#forwarding?.cancel();
    this.#body.clear();
  }

  onTry(): undefined {
    return undefined;
  }

  onInformational(): void {}

  onResponse(
    status: number,
    headers: readonly Header[],
    { endStream, stream }: { endStream: boolean; stream: HttpStream },
  ): void {
    this.#status = status;
    this.#headers = headers;
    this.#stream = stream;
    if (endStream) this.onResponseEnd();
  }

  onResponseData(slab: Slab, offset: number, length: number): void {
    this.#stream?.consume(length);
    this.#size += length;
    if (this.#size > maxAnswerBytes)
      return this.#failed('the answer of the authorization service is too large');
    this.#parts.push(Buffer.from(slab.bytes.subarray(offset, offset + length)));
  }

  onResponseTrailers(headers: readonly Header[]): void {
    this.#trailers = headers;
  }

  onResponseEnd(): void {
    if (this.#over) return;
    this.#forwarding?.complete();
    const body = Buffer.concat(this.#parts);
    if (this.#filter.protocol === 'http') return this.#finish(this.#httpOutcome(body));
    const code = grpcStatusIn(this.#trailers ?? this.#headers);
    if (code !== 0) return this.#failed(`the authorization service answered gRPC status ${code ?? 'none'}`);
    const response = decodeCheckResponse(body);
    if (response === undefined)
      return this.#failed('the authorization service answered what is no CheckResponse');
    this.#finish(grpcOutcome(response));
  }

  onNoResponse({ details }: LocalReply): void {
    this.#failed(`the authorization service did not answer: ${details}`);
  }

  onBroken(_flag: string, details: string): void {
    this.#failed(`the authorization service did not answer in whole: ${details}`);
  }

  #httpOutcome(body: Buffer): AuthOutcome {
    const status = this.#status;
    if (status === 200) {
      const { allowedResponseHeaders: wanted } = this.#filter;
      const set = this.#headers.filter(
        ([name]) =>
          !name.startsWith(':') && !notCopied.has(name) && (wanted.length === 0 || wanted.includes(name)),
      );
      return { kind: 'allowed', set, remove: [], response: [] };
    }
    if (status >= 500) return denied(`the authorization service answered ${status}`);
    const headers = this.#headers.filter(([name]) => !name.startsWith(':') && !notCopied.has(name));
    const type = headerValue(this.#headers, 'content-type') ?? 'text/plain';
    return {
      kind: 'denied',
      reply: {
        status,
        flag: 'UAEX',
        details: `the authorization service answered ${status}`,
        headers,
        content: { type, body: body.toString('latin1') },
      },
    };
  }

  #failed(reason: string): void {
    if (this.#over) return;
    this.#forwarding?.cancel();
    this.#finish(denied(reason));
  }

  #finish(outcome: AuthOutcome): void {
    this.#over = true;
    this.#body.clear();
    this.#done(outcome);
  }
}

function denied(details: string): AuthOutcome {
  return { kind: 'denied', reply: { status: 403, flag: 'UAEX', details } };
}

function grpcOutcome(response: CheckResponse): AuthOutcome {
  const { headers, removeHeaders, responseHeaders, status, body } = response;
  if (response.allowed)
    return {
      kind: 'allowed',
      set: headers.filter(([name]) => !notCopied.has(name)),
      remove: removeHeaders.filter((name) => name !== 'host'),
      response: responseHeaders.filter(([name]) => !notCopied.has(name)),
    };
  const type = headers.find(([name]) => name === 'content-type')?.[1] ?? 'text/plain';
  return {
    kind: 'denied',
    reply: {
      status: status >= 200 && status <= 599 ? status : 403,
      flag: 'UAEX',
      details: 'the authorization service denied it',
      headers: headers.filter(([name]) => !notCopied.has(name)),
      content: { type, body },
    },
  };
}

interface Asking {
  readonly filter: ExternalAuthFilter;
}

/** GEP-1494: Host, Method, Path, Content-Length and Authorization are always sent, the others by name. */
function httpHeaders(
  exchange: Exchange,
  head: RequestHead,
  { filter, length }: Asking & { readonly length: number },
): Header[] {
  const { client, record } = exchange;
  const list: Header[] = [
    [':method', head.method],
    [':scheme', head.scheme],
    [':authority', head.authority],
    [':path', `${filter.path}${head.path}`],
  ];
  for (const header of head.headers) {
    const name = header[0];
    if (name === 'authorization' || (filter.allowedHeaders.includes(name) && !notCopied.has(name)))
      list.push(header);
  }
  list.push(
    ['content-length', String(length)],
    ['x-forwarded-for', client.address],
    ['x-request-id', record.requestId],
  );
  return list;
}

function grpcHeaders(authority: string): Header[] {
  return [
    [':method', 'POST'],
    [':scheme', 'http'],
    [':authority', authority],
    [':path', checkPath],
    ['content-type', 'application/grpc'],
    ['te', 'trailers'],
  ];
}

function checkOf(
  exchange: Exchange,
  head: RequestHead,
  { filter, body }: Asking & { readonly body: Buffer },
) {
  const { client, record, view, world } = exchange;
  const { allowedHeaders } = filter;
  const chosen = head.headers.filter(
    ([name]) => allowedHeaders.length === 0 || name === 'authorization' || allowedHeaders.includes(name),
  );
  return {
    source: { address: client.address, port: client.port, principal: client.spiffeId ?? '' },
    destination: { address: view.destination, port: client.servicePort, principal: world.identity ?? '' },
    request: {
      id: record.requestId,
      method: head.method,
      path: head.path,
      host: head.authority,
      scheme: head.scheme,
      protocol: `HTTP/${record.version}`,
      size: exchange.bodiless ? 0 : Number(headerValue(head.headers, 'content-length') ?? -1),
      headers: chosen,
      body: body.length === 0 ? undefined : body,
    },
  };
}
