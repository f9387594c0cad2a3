// The way of a request from its rule to its endpoint: which backend, what it gets and what goes back, over which version,
// within which time, with which copies.

import { headerValue } from '../../mesh/h2/header.ts';
import type { RequestHead } from '../../mesh/http/message.ts';
import { isIpv6 } from '../../mesh/model/ip-address.ts';
import type { Backend, HttpRule, MirrorFilter } from '../../mesh/model/routing.ts';
import type { Service } from '../../mesh/model/service.ts';
import type { HttpTrafficPolicy } from '../../mesh/model/traffic-policy.ts';
import { parseGrpcTimeout, timeoutsFor } from '../resilience/deadlines.ts';
import { requestHash } from '../resilience/hash-key.ts';
import { retrySettings } from '../resilience/retry-policy.ts';
import { mergeTrafficSettings } from '../resilience/traffic-settings.ts';
import { applyRequestFilters } from '../routing/request-filters.ts';
import type { RouteMatch } from '../routing/router.ts';
import { findSession, sessionBackend, sessionHeader } from '../routing/session-persistence.ts';
import { formatClientCert } from './client-cert-header.ts';
import { askEndpoints, decideAt, denial } from './endpoint-policies.ts';
import type { Exchange } from './exchange.ts';
import { forwardHeaders } from './forward-headers.ts';
import type { ForwardRequest, ForwardTarget } from './forwarding.ts';
import type { LocalReply } from './local-reply.ts';
import { SideRequest } from './side-request.ts';
import { filterContext, noFilters, type Travel, withoutLength } from './travel.ts';
import type { UpstreamProtocol } from './upstream/endpoint-address.ts';
import type { UpstreamEndpoint } from './upstream/upstream.ts';

export interface Routed {
  readonly match: RouteMatch;
  readonly head: RequestHead;
  readonly mirrors: readonly MirrorFilter[];
}

export function toBackend(travel: Travel, { match, head, mirrors }: Routed): void {
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
export function forwardToService(travel: Travel, head: RequestHead): void {
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
    preferred: travel.session?.endpoint,
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

/** As long as most clients wait. */
const mirrorTimeoutMs = 15_000;
/** Copies under way in one worker. */
const maxMirrors = 1_000;

function mirror(travel: Travel, mirrors: readonly MirrorFilter[], original: ForwardRequest): void {
  const { exchange } = travel;
  const { world } = exchange;
  const started: SideRequest[] = [];
  // A mirror that hangs must not pile up copies: they end when their request would have, or in time of their own.
  const timeouts = { requestMs: original.timeouts.requestMs ?? mirrorTimeoutMs, perTryMs: undefined };
  const admits = (endpoint: UpstreamEndpoint): LocalReply | undefined => {
    const decision = decideAt(exchange, endpoint);
    return decision?.allowed === false ? denial(decision) : undefined;
  };
  for (const { target } of mirrors) {
    if (target.kind === 'invalid' || world.sideRequests.size >= maxMirrors) continue;
    const service = world.snapshot.serviceByKey(target.service);
    if (service === undefined) continue;
    const appProtocol =
      service.ports.find(({ servicePort }) => servicePort === target.port)?.appProtocol ?? 'unknown';
    started.push(
      new SideRequest(
        world,
        {
          ...original,
          timeouts,
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
  if (started.length > 0) exchange.copyTo(started);
}
