// The way of a request from its head to its backend: limits, token, authorization, route, faults, rate limits, filters,
// backend. Each step may answer it; what waits (a token, a delay) goes on with the next step unless the client is gone.

import { RequestFacts, type VerifiedToken } from '../../mesh/authz/http-facts.ts';
import type { Decision } from '../../mesh/authz/policy-set.ts';
import { type Header, headerValue } from '../../mesh/h2/header.ts';
import type { RequestHead } from '../../mesh/http/message.ts';
import { isIpv6 } from '../../mesh/model/ip-address.ts';
import type {
  Backend,
  ExternalAuthFilter,
  HttpFilter,
  HttpRule,
  MirrorFilter,
} from '../../mesh/model/routing.ts';
import type { Service } from '../../mesh/model/service.ts';
import type { HttpTrafficPolicy } from '../../mesh/model/traffic-policy.ts';
import type { WorkloadUid } from '../../mesh/model/workload.ts';
import { explain, wantsExplanation } from '../explain-policy.ts';
import { parseGrpcTimeout, timeoutsFor } from '../resilience/deadlines.ts';
import { chooseFault } from '../resilience/faults.ts';
import { requestHash } from '../resilience/hash-key.ts';
import { rateLimitFields } from '../resilience/rate-limiter.ts';
import { retrySettings } from '../resilience/retry-policy.ts';
import { mergeTrafficSettings, rateLimitScope } from '../resilience/traffic-settings.ts';
import { applyRequestFilters } from '../routing/request-filters.ts';
import type { TokenOutcome } from '../jwt/token-gate.ts';
import type { RouteMatch } from '../routing/router.ts';
import { findSession, type Session, sessionBackend, sessionHeader } from '../routing/session-persistence.ts';
import { formatClientCert } from './client-cert-header.ts';
import type { Exchange } from './exchange.ts';
import { ExternalAuth } from './external-auth/external-auth.ts';
import type { ForwardRequest, ForwardTarget } from './forwarding.ts';
import { forwardHeaders } from './forward-headers.ts';
import type { LocalReply } from './local-reply.ts';
import { denialText } from './request-world.ts';
import { SideRequest } from './side-request.ts';
import type { UpstreamEndpoint } from './upstream/upstream.ts';
import type { UpstreamProtocol } from './upstream/endpoint-address.ts';

/** A request on its way, with what its steps found. */
interface Travel {
  readonly exchange: Exchange;
  match: RouteMatch | undefined;
  /** In force for the service that was asked. */
  settings: HttpTrafficPolicy | undefined;
  /** The request as it goes on: without headers that only verified tokens may set, then with theirs. */
  head: RequestHead;
  session: Session | undefined;
  /** On every answer. */
  extra: Header[];
}

const noFilters: readonly HttpFilter[] = Object.freeze([]);

/** Takes a request from its head on. Answers it or forwards it, now or later. */
export function startRequest(exchange: Exchange): void {
  const { head, view, world } = exchange;
  if (head.method === 'CONNECT')
    return exchange.reply({
      status: 405,
      flag: 'NR',
      details: 'CONNECT is not served',
      text: 'CONNECT is not served',
    });
  if (!view.served && (view.service ?? view.workload) === undefined)
    return exchange.reply({ status: 503, flag: 'NR', details: 'the destination is gone from the mesh' });
  const { settings } = view;
  if (settings !== undefined && exceedsLimits(exchange, settings)) return;
  const travel: Travel = { exchange, match: undefined, settings, head, session: undefined, extra: [] };
  if (view.tokenRules.length === 0) return authorized(travel, undefined);
  world.tokens.check(head, view.tokenRules, (outcome) => {
    if (!exchange.over) tokensChecked(travel, outcome);
  });
}

function tokensChecked(travel: Travel, outcome: TokenOutcome): void {
  const { exchange } = travel;
  if (outcome.kind === 'unavailable')
    return exchange.reply({
      status: 503,
      flag: 'UAEX',
      details: outcome.reason,
      text: 'the token can not be checked now',
    });
  if (outcome.kind === 'invalid')
    return exchange.reply({
      status: 401,
      flag: 'UAEX',
      details: outcome.reason,
      text: 'the token is not valid',
      headers: [['www-authenticate', outcome.challenge]],
    });
  travel.head = outcome.head;
  authorized(travel, outcome.kind === 'valid' ? outcome.token : undefined);
}

function exceedsLimits(exchange: Exchange, settings: HttpTrafficPolicy): boolean {
  const { maxHeaderBytes, maxRequestBodyBytes } = settings;
  const { head } = exchange;
  if (maxHeaderBytes !== undefined && headBytes(head) > maxHeaderBytes) {
    exchange.reply({
      status: 431,
      flag: 'DPE',
      details: `the head is larger than ${maxHeaderBytes} bytes`,
      text: 'the request head is too large',
    });
    return true;
  }
  if (maxRequestBodyBytes === undefined) return false;
  exchange.maxBodyBytes = maxRequestBodyBytes;
  const declared = Number(headerValue(head.headers, 'content-length') ?? 0);
  if (declared <= maxRequestBodyBytes) return false;
  exchange.reply({
    status: 413,
    flag: 'DPE',
    details: `the body is larger than ${maxRequestBodyBytes} bytes`,
    text: 'the request is too large',
  });
  return true;
}

/** As HTTP/1.1 writes it, about: names, values and four octets a line. */
function headBytes({ method, path, authority, headers }: RequestHead): number {
  let bytes = method.length + path.length + authority.length + 32;
  for (const [name, value] of headers) bytes += name.length + value.length + 4;
  return bytes;
}

function authorized(travel: Travel, token: VerifiedToken | undefined): void {
  const { exchange, head } = travel;
  const { view, world, client, record } = exchange;
  record.requestPrincipal = token?.principal ?? '';
  const facts = {
    peer: client.peer,
    sourceIp: client.address,
    destinationIp: view.destination,
    destinationPort: view.policyPort,
    http: new RequestFacts(head, token),
  };
  exchange.facts = facts;
  const decision = world.authorize(view, facts);
  if (decision.audits.length > 0) record.audits = decision.audits;
  explainTo(exchange, decision);
  if (!decision.allowed) return exchange.reply(denial(decision));
  if (decision.reason === 'endpoint-decides') askEndpoints(exchange);
  routed(travel);
}

/** In the answer, whoever gives it. */
function explainTo(exchange: Exchange, decision: Decision): void {
  const { head, client, view } = exchange;
  if (view.explainPolicyTo === undefined) return;
  if (wantsExplanation(head, { peer: client.peer, allowed: view.explainPolicyTo }))
    exchange.explanation = explain(decision);
}

/** Each endpoint that is tried decides by its own policies. */
function askEndpoints(exchange: Exchange): void {
  const { record } = exchange;
  exchange.admits = (endpoint) => {
    const decision = decideAt(exchange, endpoint);
    if (decision === undefined) return undefined;
    if (decision.audits.length > 0) record.audits = decision.audits;
    explainTo(exchange, decision);
    return decision.allowed ? undefined : denial(decision);
  };
}

function decideAt({ world, view, facts }: Exchange, endpoint: UpstreamEndpoint): Decision | undefined {
  return facts === undefined ? undefined : world.authorizeAt(view, facts, endpoint);
}

function denial(decision: Decision): LocalReply {
  return { status: 403, flag: 'UAEX', details: denialText(decision) };
}

function routed(travel: Travel): void {
  const { exchange, head } = travel;
  const { view, world, record } = exchange;
  const { http } = view;
  if (http?.hasRules === true) {
    const match = http.match(head);
    if (match === undefined)
      return exchange.reply({ status: 404, flag: 'NR', details: 'no rule of the routes matches' });
    travel.match = match;
    record.route = match.rule.name;
    travel.settings = mergeTrafficSettings(travel.settings, match.rule.trafficPolicy);
    if (match.rule.filters.length > 0)
      exchange.changes = { filters: match.rule.filters, extra: travel.extra };
  }
  const fault = chooseFault(travel.settings?.faults, head, world.random);
  if (fault.delayMs === 0) return afterDelay(travel, fault.abort);
  record.flag = 'DI';
  exchange.pending = world.reactor.after(fault.delayMs, () => {
    exchange.pending = undefined;
    afterDelay(travel, fault.abort);
  });
}

function afterDelay(
  travel: Travel,
  abort: { readonly status: number; readonly grpcStatus: number | undefined } | undefined,
): void {
  const { exchange, settings } = travel;
  if (abort !== undefined)
    return exchange.reply({
      status: abort.status,
      flag: 'FI',
      details: 'fault injected',
      grpcStatus: abort.grpcStatus,
    });
  if (settings?.rateLimits !== undefined && isLimited(travel, settings)) return;
  filtered(travel);
}

function isLimited(travel: Travel, settings: HttpTrafficPolicy): boolean {
  const { exchange } = travel;
  const { client, world, view } = exchange;
  const decision = world.rateLimiter.check(
    settings.rateLimits,
    {
      head: travel.head,
      identity: client.spiffeId,
      namespace: client.peer === undefined ? undefined : client.namespace,
      sourceIp: client.address,
    },
    rateLimitScope(settings, view.service?.key ?? ''),
  );
  const fields = rateLimitFields(decision);
  if (!decision.allowed) {
    exchange.reply({
      status: 429,
      flag: 'RL',
      details: `over the rate limit of ${settings.key}`,
      headers: fields,
    });
    return true;
  }
  travel.extra.push(...fields);
  if (fields.length > 0) exchange.changes ??= { filters: noFilters, extra: travel.extra };
  return false;
}

function filtered(travel: Travel): void {
  const { exchange, match, head } = travel;
  if (match === undefined) return forwardToService(travel, head);
  const result = applyRequestFilters(match.rule.filters, head, filterContext(travel, match));
  askAuthorization(travel, result.externalAuth, (added) => {
    if (result.kind === 'respond')
      return exchange.reply({
        status: result.status,
        flag: '',
        details: '',
        text: '',
        headers: withoutLength(result.headers),
      });
    toBackend(travel, { match, head: withAuthorization(result.head, added), mirrors: result.mirrors });
  });
}

interface AddedByAuthorization {
  readonly set: readonly Header[];
  readonly remove: readonly string[];
}

const nothingAdded: AddedByAuthorization = { set: [], remove: [] };

/** One service after the other; goes on when all have agreed. */
function askAuthorization(
  travel: Travel,
  filters: readonly ExternalAuthFilter[],
  done: (added: AddedByAuthorization) => void,
): void {
  if (filters.length === 0) return done(nothingAdded);
  const { exchange, head } = travel;
  const set: Header[] = [];
  const remove: string[] = [];
  const next = (index: number, body: Buffer): void => {
    const filter = filters[index];
    if (filter === undefined) return done({ set, remove });
    const auth = new ExternalAuth(exchange, filter, (outcome) => {
      exchange.pending = undefined;
      if (outcome.kind === 'denied') return exchange.reply(outcome.reply);
      set.push(...outcome.set);
      remove.push(...outcome.remove);
      travel.extra.push(...outcome.response);
      next(index + 1, body);
    });
    exchange.pending = auth;
    auth.start(exchange, head, body.subarray(0, filter.maxBodyBytes));
  };
  const wanted = Math.max(...filters.map(({ maxBodyBytes }) => maxBodyBytes));
  if (wanted === 0) return next(0, Buffer.alloc(0));
  exchange.collectBody(wanted, (body) => next(0, body));
}

function withAuthorization(head: RequestHead, { set, remove }: AddedByAuthorization): RequestHead {
  if (set.length + remove.length === 0) return head;
  const replaced = new Set([...remove, ...set.map(([name]) => name)]);
  return { ...head, headers: [...head.headers.filter(([name]) => !replaced.has(name)), ...set] };
}

function filterContext({ exchange }: Travel, { matchedPrefix }: RouteMatch) {
  return { matchedPrefix, port: exchange.client.servicePort, mirrors: exchange.world.mirrors };
}

/** A local reply frames itself. */
function withoutLength(headers: readonly Header[]): readonly Header[] {
  return headers.filter(([name]) => name !== 'content-length');
}

interface Routed {
  readonly match: RouteMatch;
  readonly head: RequestHead;
  readonly mirrors: readonly MirrorFilter[];
}

function toBackend(travel: Travel, { match, head, mirrors }: Routed): void {
  const { exchange } = travel;
  const { world } = exchange;
  const { rule } = match;
  const index = backendIndex(travel, match);
  const backend = rule.backends[index];
  if (backend === undefined)
    return exchange.reply({
      status: 500,
      flag: 'NC',
      details: 'the rule has no backend that takes requests',
    });
  const { target } = backend;
  if (target.kind === 'invalid') return exchange.reply({ status: 500, flag: 'NC', details: target.reason });
  const service = world.snapshot.serviceByKey(target.service);
  if (service === undefined)
    return exchange.reply({
      status: 500,
      flag: 'NC',
      details: `backend service ${target.service} is not in the mesh`,
    });
  let forwarded = head;
  let copies = mirrors;
  if (backend.filters.length > 0) {
    const result = applyRequestFilters(backend.filters, head, filterContext(travel, match));
    if (result.kind === 'respond')
      return exchange.reply({
        status: result.status,
        flag: '',
        details: '',
        text: '',
        headers: withoutLength(result.headers),
      });
    forwarded = result.head;
    copies = [...mirrors, ...result.mirrors];
  }
  if (service.key !== exchange.view.service?.key) askEndpoints(exchange);
  setChanges(travel, match, backend);
  const settings = backendSettings(travel, service);
  send(travel, { head: forwarded, rule, service, port: target.port, settings, mirrors: copies });
}

/** What is in force for the request, unless the service it is sent to says otherwise. */
function backendSettings({ exchange, settings }: Travel, service: Service): HttpTrafficPolicy | undefined {
  const { view } = exchange;
  if (service.key === view.service?.key) return settings;
  return mergeTrafficSettings(settings, view.backendSettings.get(service.key) ?? service.trafficPolicy?.http);
}

function backendIndex(travel: Travel, { rule, choice }: RouteMatch): number {
  const { sessionPersistence, backends } = rule;
  if (sessionPersistence !== undefined) {
    const { world } = travel.exchange;
    const session = findSession(sessionPersistence, travel.head, world.clock.now());
    const index = session === undefined ? -1 : sessionBackend(backends, session);
    if (session !== undefined && index >= 0) {
      travel.session = session;
      return index;
    }
  }
  return backends.length === 1 && (backends[0]?.weight ?? 0) > 0 ? 0 : choice.next();
}

function setChanges(travel: Travel, { rule, cookiePath }: RouteMatch, backend: Backend): void {
  const { exchange, session: previous } = travel;
  const { sessionPersistence } = rule;
  const { target } = backend;
  if (sessionPersistence === undefined && backend.filters.length === 0) return;
  const filters = backend.filters.length === 0 ? rule.filters : [...rule.filters, ...backend.filters];
  const base = { filters, extra: travel.extra };
  if (sessionPersistence === undefined || target.kind !== 'service') {
    exchange.changes = base;
    return;
  }
  const { service, port } = target;
  exchange.changes = {
    ...base,
    sessionHeader: ({ workload }) =>
      sessionHeader(
        sessionPersistence,
        { service, port, endpoint: workload.uid },
        { previous, nowMs: exchange.world.clock.now(), cookiePath, secure: exchange.head.scheme === 'https' },
      ),
  };
}

interface Sending {
  readonly head: RequestHead;
  readonly rule: HttpRule | undefined;
  readonly service: NonNullable<Exchange['view']['service']>;
  readonly port: number;
  readonly settings: HttpTrafficPolicy | undefined;
  readonly mirrors: readonly MirrorFilter[];
}

/** Without routes: the service itself, or the workload that was asked for by its own address. */
function forwardToService(travel: Travel, head: RequestHead): void {
  const { exchange, settings } = travel;
  const { view, client } = exchange;
  if (view.service !== undefined)
    return send(travel, {
      head,
      rule: undefined,
      service: view.service,
      port: client.servicePort,
      settings,
      mirrors: [],
    });
  const { workload } = view;
  if (workload === undefined)
    return exchange.reply({ status: 503, flag: 'NR', details: 'the destination is gone from the mesh' });
  const endpoint = exchange.world.upstream.endpointOf(
    { workload, address: client.destination, port: client.servicePort },
    undefined,
  );
  forward(travel, {
    head,
    rule: undefined,
    settings,
    target: { kind: 'endpoint', endpoint },
    protocol: protocolFor(exchange, head, 'unknown'),
  });
}

function send(travel: Travel, sending: Sending): void {
  const { exchange } = travel;
  const { head, rule, service, port, settings, mirrors } = sending;
  const { record, client } = exchange;
  record.backend = service;
  record.backendPort = port;
  const appProtocol = service.ports.find(({ servicePort }) => servicePort === port)?.appProtocol ?? 'unknown';
  let hash: number | undefined;
  if (settings?.hashOn !== undefined) {
    const result = requestHash(settings.hashOn, head, {
      sourceIp: client.address,
      random: exchange.world.random,
    });
    hash = result.hash;
    if (result.setCookie !== undefined) {
      travel.extra.push(['set-cookie', result.setCookie]);
      exchange.changes ??= { filters: noFilters, extra: travel.extra };
    }
  }
  const family = isIpv6(client.destination) ? 6 : 4;
  const target: ForwardTarget = {
    kind: 'service',
    service,
    port,
    family,
    hash,
    preferred: travel.session?.endpoint as WorkloadUid | undefined,
  };
  const protocol = protocolFor(exchange, head, appProtocol);
  const request = forward(travel, { head, rule, settings, target, protocol });
  if (mirrors.length > 0) mirror(travel, mirrors, request);
}

function forward(
  travel: Travel,
  plan: {
    readonly head: RequestHead;
    readonly rule: HttpRule | undefined;
    readonly settings: HttpTrafficPolicy | undefined;
    readonly target: ForwardTarget;
    readonly protocol: UpstreamProtocol;
  },
): ForwardRequest {
  const { exchange } = travel;
  const { client, record, world, view } = exchange;
  const { head, rule, settings, target, protocol } = plan;
  const grpcTimeout = record.grpc ? headerValue(head.headers, 'grpc-timeout') : undefined;
  // The service that was asked sets the time and the retries of its requests; its backend, balancing and limits.
  const own = travel.settings;
  const request: ForwardRequest = {
    headers: forwardHeaders(head, {
      client: client.address,
      requestId: record.requestId,
      clientCert: view.forwardClientCert ? formatClientCert(client, world.identity) : undefined,
      extra: exchange.traceHeaders,
    }),
    method: head.method,
    endStream: exchange.bodiless,
    upgrade: head.upgrade !== undefined,
    protocol,
    target,
    settings,
    retry: retrySettings(rule?.retry, own),
    timeouts: timeoutsFor(
      rule?.timeouts,
      own,
      grpcTimeout === undefined ? undefined : parseGrpcTimeout(grpcTimeout),
    ),
    startedMs: record.startedMs,
    connectTimeoutMs: connectTimeoutOf(target) ?? world.connectTimeoutMs,
    maxRequestsPerConnection: settings?.maxRequestsPerConnection ?? 0,
  };
  exchange.forward(request);
  return request;
}

function connectTimeoutOf(target: ForwardTarget): number | undefined {
  return target.kind === 'service' ? target.service.trafficPolicy?.connectTimeoutMs : undefined;
}

/** As the service says; where it says nothing, the version the client speaks. Upgrades are of HTTP/1.1, gRPC is not. */
function protocolFor(
  { record }: Exchange,
  head: RequestHead,
  appProtocol: 'unknown' | 'http11' | 'http2' | 'grpc' | 'tcp' | 'tls',
): UpstreamProtocol {
  if (head.upgrade !== undefined) return 'http1';
  if (record.grpc || appProtocol === 'http2' || appProtocol === 'grpc') return 'http2';
  if (appProtocol === 'http11') return 'http1';
  return record.version === '2' ? 'http2' : 'http1';
}

function mirror(travel: Travel, mirrors: readonly MirrorFilter[], original: ForwardRequest): void {
  const { exchange } = travel;
  const { world } = exchange;
  const started: SideRequest[] = [];
  const admits = (endpoint: UpstreamEndpoint): LocalReply | undefined => {
    const decision = decideAt(exchange, endpoint);
    return decision?.allowed === false ? denial(decision) : undefined;
  };
  for (const { target } of mirrors) {
    if (target.kind === 'invalid') continue;
    const service = world.snapshot.serviceByKey(target.service);
    if (service === undefined) continue;
    const appProtocol =
      service.ports.find(({ servicePort }) => servicePort === target.port)?.appProtocol ?? 'unknown';
    started.push(
      new SideRequest(
        world,
        {
          ...original,
          protocol: protocolFor(exchange, exchange.head, appProtocol),
          settings: backendSettings(travel, service),
          target: {
            kind: 'service',
            service,
            port: target.port,
            family: 4,
            hash: undefined,
            preferred: undefined,
          },
        },
        { admits },
      ),
    );
  }
  if (started.length > 0 && !exchange.bodiless) exchange.mirrors = started;
}
