// The way of a request from its head to its rule: token, authorization, route, sizes, faults, rate limits, filters. Each
// step may answer it; what waits (a token, a delay) goes on with the next step unless the client is gone.

import { RequestFacts, type VerifiedToken } from '../../mesh/authz/http-facts.ts';
import { type Header, headerValue } from '../../mesh/h2/header.ts';
import { hyphenated } from '../../mesh/http/field-names.ts';
import type { RequestHead } from '../../mesh/http/message.ts';
import type { ExternalAuthFilter } from '../../mesh/model/routing.ts';
import type { HttpTrafficPolicy } from '../../mesh/model/traffic-policy.ts';
import type { TokenOutcome } from '../jwt/token-gate.ts';
import { chooseFault } from '../resilience/faults.ts';
import { rateLimitFields } from '../resilience/rate-limiter.ts';
import { mergeTrafficSettings, rateLimitScope } from '../resilience/traffic-settings.ts';
import { applyRequestFilters } from '../routing/request-filters.ts';
import { forwardToService, toBackend } from './backend-path.ts';
import { askEndpoints, denial, explainTo } from './endpoint-policies.ts';
import type { Exchange } from './exchange.ts';
import { ExternalAuth } from './external-auth/external-auth.ts';
import { filterContext, noFilters, type Travel, withoutLength } from './travel.ts';

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
  const travel: Travel = { exchange, match: undefined, settings, head, session: undefined, extra: [] };
  if (view.tokenRules.length === 0) return authorized(travel, undefined);
  const { spiffeId, address } = exchange.client;
  const checked = (outcome: TokenOutcome): void => {
    if (!exchange.over) tokensChecked(travel, outcome);
  };
  world.tokens.check(head, view.tokenRules, checked, spiffeId ?? address);
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

function exceedsSizes(exchange: Exchange, settings: HttpTrafficPolicy): boolean {
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
  if (Math.max(declared, exchange.receivedBytes) <= maxRequestBodyBytes) return false;
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
  if (travel.settings !== undefined && exceedsSizes(exchange, travel.settings)) return;
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
  const replaced = new Set([...remove, ...set.map(([name]) => name)].map(hyphenated));
  const kept = head.headers.filter(([name]) => !replaced.has(hyphenated(name)));
  return { ...head, headers: [...kept, ...set] };
}
