// Sessions that stay with one endpoint (GEP-1619). The client carries a token that names the backend and the endpoint; the
// token is not secret and grants nothing: the backend must be one of the rule's and the balancer takes the endpoint only
// if it may be picked, so a forged token reaches nothing that chance would not. Stateless: every waypoint reads every token.

import { type Header, headerValue } from '../../mesh/h2/header.ts';
import type { RequestHead } from '../../mesh/http/message.ts';
import type { Backend, SessionPersistence } from '../../mesh/model/routing.ts';
import type { ServiceKey } from '../../mesh/model/service.ts';
import type { WorkloadUid } from '../../mesh/model/workload.ts';

export interface SessionEndpoint {
  readonly service: ServiceKey;
  /** Of the service. */
  readonly port: number;
  readonly endpoint: WorkloadUid;
}

/** What a client's token says; times are in ms since the epoch. */
export interface Session extends SessionEndpoint {
  readonly expiresAtMs: number | undefined;
  readonly idleUntilMs: number | undefined;
}

const format = '1';
/** A uid and a service key, with room; browsers keep cookies up to 4096 octets. */
const maxTokenLength = 1_024;
/** Tokens of one name that are looked at; a client may hold one for each path of a route. */
const maxTokens = 8;

/** Opaque text that fits a cookie and a header. */
export function encodeSession(session: Session): string {
  const { service, port, endpoint, expiresAtMs, idleUntilMs } = session;
  const fields = [format, expiresAtMs ?? '', idleUntilMs ?? '', service, port, endpoint];
  return Buffer.from(fields.join('\n'), 'utf8').toString('base64url');
}

/** undefined for anything that `encodeSession` does not make. */
export function decodeSession(text: string): Session | undefined {
  if (text.length > maxTokenLength || !/^[A-Za-z0-9_-]+$/.test(text)) return undefined;
  const fields = Buffer.from(text, 'base64url').toString('utf8').split('\n');
  const [version, expires, idle, service, port, endpoint] = fields;
  if (fields.length !== 6 || version !== format || !service || !endpoint) return undefined;
  const numbers = [expires, idle, port].map((field) =>
    /^\d{1,15}$/.test(field ?? '') ? Number(field) : undefined,
  );
  const [expiresAtMs, idleUntilMs, portNumber] = numbers;
  if (portNumber === undefined || (expires !== '' && expiresAtMs === undefined)) return undefined;
  if (idle !== '' && idleUntilMs === undefined) return undefined;
  return {
    service: service as ServiceKey,
    port: portNumber,
    endpoint: endpoint as WorkloadUid,
    expiresAtMs,
    idleUntilMs,
  };
}

/** The session a request belongs to; undefined if it carries none that is whole and has not ended. */
export function findSession(
  persistence: SessionPersistence,
  head: RequestHead,
  nowMs: number,
): Session | undefined {
  if (persistence.kind === 'header') {
    const value = headerValue(head.headers, persistence.name.toLowerCase());
    return value === undefined ? undefined : liveSession(persistence, value, nowMs);
  }
  let tried = 0;
  for (const [name, value] of head.headers) {
    if (name !== 'cookie' || !value.includes(persistence.name)) continue;
    for (const pair of value.split(';')) {
      const equals = pair.indexOf('=');
      if (equals < 0 || pair.slice(0, equals).trim() !== persistence.name) continue;
      const session = liveSession(persistence, pair.slice(equals + 1).trim(), nowMs);
      if (session !== undefined || ++tried === maxTokens) return session;
    }
  }
  return undefined;
}

/** A token that says less about its end than the route now does, or more, was made under other rules, or by the client. */
function liveSession(persistence: SessionPersistence, text: string, nowMs: number): Session | undefined {
  const session = decodeSession(text);
  if (session === undefined) return undefined;
  return holds(session.expiresAtMs, persistence.absoluteTimeoutMs, nowMs) &&
    holds(session.idleUntilMs, persistence.idleTimeoutMs, nowMs)
    ? session
    : undefined;
}

function holds(endMs: number | undefined, timeoutMs: number | undefined, nowMs: number): boolean {
  if (timeoutMs === undefined) return endMs === undefined || nowMs < endMs;
  return endMs !== undefined && nowMs < endMs && endMs <= nowMs + timeoutMs;
}

/**
 * Index of the session's backend among those of the rule, also one of weight 0: a session outlives a shift of the weights
 * (GEP-1619, Traffic Splitting). -1 if it is no longer there: the session is over.
 */
export function sessionBackend(backends: readonly Backend[], session: SessionEndpoint): number {
  return backends.findIndex(
    ({ target }) =>
      target.kind === 'service' && target.service === session.service && target.port === session.port,
  );
}

export interface SessionHeaderOptions {
  /** What `findSession` returned. */
  readonly previous: Session | undefined;
  readonly nowMs: number;
  /** RouteMatch.cookiePath. */
  readonly cookiePath: string;
  /** The client came by https. */
  readonly secure: boolean;
}

/**
 * The response header that hands the client its token for the endpoint that served it; undefined if it holds a token
 * that says so already. A session that moved to another endpoint begins anew.
 */
export function sessionHeader(
  persistence: SessionPersistence,
  served: SessionEndpoint,
  options: SessionHeaderOptions,
): Header | undefined {
  const { previous, nowMs } = options;
  const continues = previous !== undefined && sameEndpoint(previous, served);
  if (continues && persistence.idleTimeoutMs === undefined) return undefined;
  const { absoluteTimeoutMs, idleTimeoutMs } = persistence;
  const begun = absoluteTimeoutMs === undefined ? undefined : nowMs + absoluteTimeoutMs;
  const expiresAtMs = continues ? previous.expiresAtMs : begun;
  const idleUntilMs = idleTimeoutMs === undefined ? undefined : nowMs + idleTimeoutMs;
  const token = encodeSession({ ...served, expiresAtMs, idleUntilMs });
  if (persistence.kind === 'header') return [persistence.name.toLowerCase(), token];
  return ['set-cookie', `${persistence.name}=${token}${attributes(persistence, options, expiresAtMs)}`];
}

function sameEndpoint(left: SessionEndpoint, right: SessionEndpoint): boolean {
  return left.endpoint === right.endpoint && left.service === right.service && left.port === right.port;
}

/** RFC 6265 section 4.1; HttpOnly and SameSite as GEP-1619 advises, Secure only where the cookie would come back. */
function attributes(
  persistence: SessionPersistence,
  options: SessionHeaderOptions,
  expiresAtMs: number | undefined,
): string {
  const seconds = expiresAtMs === undefined ? 0 : Math.ceil((expiresAtMs - options.nowMs) / 1_000);
  const maxAge = persistence.permanent && expiresAtMs !== undefined ? `; Max-Age=${seconds}` : '';
  const secure = options.secure ? '; Secure' : '';
  return `; Path=${options.cookiePath}${maxAge}; HttpOnly; SameSite=Strict${secure}`;
}
