// HTTP to a Kubernetes API server, with the credentials of kube-credentials.ts anew for each request, over plain
// node:https. Not the generated classes of @kubernetes/client-node: they cost tens of megabytes, hide the status of a
// watch and skip what they cannot parse.

import { type ClientRequest, type IncomingMessage, request as httpRequest } from 'node:http';
import { Agent, request as httpsRequest } from 'node:https';
import type { KubeConfig } from '@kubernetes/client-node';
import type { Clock, Timer } from '../../mesh/runtime/clock.ts';
import { JsonLines } from './json-lines.ts';
import { type Credentials, KubeCredentials } from './kube-credentials.ts';
import { KubeError } from './kube-error.ts';

export interface KubeRequest {
  readonly method?: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** With its query, for example `/api/v1/pods?limit=500`. */
  readonly path: string;
  /** Sent as JSON. */
  readonly body?: unknown;
  /** Default `application/json`; a PATCH needs its own. */
  readonly contentType?: string;
  readonly accept?: string;
  readonly signal?: AbortSignal;
  /** Until the whole answer is there; default 30 s. */
  readonly timeoutMs?: number;
}

export interface WatchRequest {
  readonly path: string;
  readonly accept?: string;
  readonly signal: AbortSignal;
  /** Silence of this length ends the watch with `STALLED`. */
  readonly stallMs: number;
  /** The API server has accepted the watch. */
  readonly onOpen?: () => void;
  /** Each event as it came. What it throws ends the watch. */
  readonly onEvent: (event: unknown) => void;
}

const defaultTimeoutMs = 30_000;
/** Of one answer; lists are asked for in pages that are far smaller. */
const maxAnswerBytes = 128 * 1024 * 1024;

export class KubeClient {
  readonly #credentials: KubeCredentials;
  readonly #clock: Clock;
  #agent: { readonly agent: Agent; readonly key: string } | undefined;

  private constructor(credentials: KubeCredentials, clock: Clock) {
    this.#credentials = credentials;
    this.#clock = clock;
  }

  /** Throws KubeError `CONFIG`. */
  static fromFile(path: string, { clock }: { readonly clock: Clock }): KubeClient {
    return new KubeClient(KubeCredentials.fromFile(path), clock);
  }

  /** For a command that a user runs. Throws KubeError `CONFIG`. */
  static fromConfig(config: KubeConfig, { clock }: { readonly clock: Clock }): KubeClient {
    return new KubeClient(KubeCredentials.fromConfig(config), clock);
  }

  /** With the ServiceAccount of the pod this runs in. Throws KubeError `CONFIG`. */
  static inCluster({ clock }: { readonly clock: Clock }): KubeClient {
    return new KubeClient(KubeCredentials.inCluster(), clock);
  }

  /** Scheme, host and port, for logs. */
  get server(): string {
    return this.#credentials.server.origin;
  }

  /** The parsed JSON of the answer. Rejects with KubeError, or with the signal's reason if that was aborted. */
  async request<T = unknown>(request: KubeRequest): Promise<T> {
    const { method = 'GET', path, body, contentType = 'application/json', accept, signal } = request;
    const payload = body === undefined ? undefined : Buffer.from(JSON.stringify(body));
    const headers: Record<string, string> = { accept: accept ?? 'application/json' };
    if (payload !== undefined) {
      headers['content-type'] = contentType;
      headers['content-length'] = `${payload.length}`;
    }
    const name = `${method} ${path.replace(/\?.*/, '')}`;
    const deadline = new Deadline(this.#clock, signal);
    deadline.arm(
      request.timeoutMs ?? defaultTimeoutMs,
      'UNREACHABLE',
      `Kubernetes API did not answer ${name} in time`,
    );
    try {
      const options = { method, path, headers, signal: deadline.signal };
      const response = await this.#send(options, payload);
      const text = await readText(response);
      throwIfRefused(response, { request: name, text });
      return parseAnswer(text, name) as T;
    } catch (error) {
      throw deadline.reasonFor(error, `Kubernetes API did not answer ${name}`);
    } finally {
      deadline.cancel();
    }
  }

  /** Resolves when the server ends the watch. Rejects with KubeError, or with the signal's reason. */
  async watch({ path, accept, signal, stallMs, onOpen, onEvent }: WatchRequest): Promise<void> {
    const name = `WATCH ${path.replace(/\?.*/, '')}`;
    const deadline = new Deadline(this.#clock, signal);
    const arm = (): void =>
      deadline.arm(stallMs, 'STALLED', `${name} was silent for ${Math.round(stallMs / 1000)} s`);
    arm();
    try {
      const headers = { accept: accept ?? 'application/json' };
      const response = await this.#send({ method: 'GET', path, headers, signal: deadline.signal });
      if (response.statusCode !== 200)
        throwIfRefused(response, { request: name, text: await readText(response) });
      onOpen?.();
      const lines = new JsonLines(onEvent);
      for await (const chunk of response) {
        arm();
        lines.push(chunk as Buffer);
      }
      lines.end();
    } catch (error) {
      throw deadline.reasonFor(error, `${name} broke`);
    } finally {
      deadline.cancel();
    }
  }

  /** Closes idle connections; requests under way are the business of their signals. */
  close(): void {
    this.#agent?.agent.destroy();
    this.#agent = undefined;
  }

  async #send(
    {
      method,
      path,
      headers,
      signal,
    }: { method: string; path: string; headers: Record<string, string>; signal: AbortSignal },
    payload?: Buffer,
  ): Promise<IncomingMessage> {
    const { tls, agent = this.#agentFor(tls), ...common } = await this.#credentials.current();
    signal.throwIfAborted();
    const { pathname, hostname, port, protocol } = this.#credentials.server;
    const prefix = pathname.replace(/\/$/, '');
    const target = {
      ...common,
      agent,
      headers: { ...common.headers, ...headers, 'user-agent': 'weft' },
      host: hostname.replace(/^\[|\]$/g, ''),
      port: port === '' ? (protocol === 'http:' ? 80 : 443) : port,
      method,
      path: `${prefix}${path}`,
      signal,
    };
    return await new Promise((resolve, reject) => {
      const request: ClientRequest =
        protocol === 'http:' ? httpRequest({ ...target, agent: undefined }) : httpsRequest(target);
      request.on('response', resolve);
      request.on('error', (error: NodeJS.ErrnoException) => {
        // The server closed a connection that was idle while we took it up again: it has not seen the request.
        const isStale = request.reusedSocket && error.code === 'ECONNRESET' && method !== 'POST';
        if (isStale && !signal.aborted) resolve(this.#send({ method, path, headers, signal }, payload));
        else reject(error);
      });
      request.setSocketKeepAlive(true, 30_000);
      request.end(payload);
    });
  }

  /** Connections are kept until a certificate of ours or theirs changes. */
  #agentFor(tls: Credentials['tls']): Agent {
    const { ca, cert, key, servername, rejectUnauthorized } = tls;
    const id = [ca, cert, key, servername, rejectUnauthorized].map(String).join('\0');
    if (this.#agent?.key !== id) {
      const options = { ca, cert, key, servername, rejectUnauthorized };
      const set = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
      // The old one is not destroyed: watches on it go on until they end by themselves.
      this.#agent = { agent: new Agent({ ...set, keepAlive: true, maxFreeSockets: 4 }), key: id };
    }
    return this.#agent.agent;
  }
}

/** Aborts at a time limit that can be moved, or with an outer signal; knows afterwards which it was. */
class Deadline {
  readonly #clock: Clock;
  readonly #controller = new AbortController();
  readonly #outer: AbortSignal | undefined;
  readonly #forward = (): void => this.#controller.abort();
  #timer: Timer | undefined;
  #expired: KubeError | undefined;

  constructor(clock: Clock, outer: AbortSignal | undefined) {
    this.#clock = clock;
    this.#outer = outer;
    if (outer?.aborted === true) this.#controller.abort();
    else outer?.addEventListener('abort', this.#forward, { once: true });
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  arm(afterMs: number, code: 'UNREACHABLE' | 'STALLED', message: string): void {
    this.#timer?.cancel();
    this.#timer = this.#clock.after(afterMs, () => {
      this.#expired = new KubeError(code, message);
      this.#controller.abort();
    });
  }

  cancel(): void {
    this.#timer?.cancel();
    this.#outer?.removeEventListener('abort', this.#forward);
  }

  reasonFor(error: unknown, what: string): unknown {
    if (this.#outer?.aborted === true) return this.#outer.reason;
    if (this.#expired !== undefined) return this.#expired;
    const isSystem = error instanceof Error && typeof (error as NodeJS.ErrnoException).code === 'string';
    if (error instanceof KubeError || !isSystem) return error;
    return new KubeError('UNREACHABLE', `${what}: ${error.message}`, { cause: error });
  }
}

async function readText(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of response) {
    bytes += (chunk as Buffer).length;
    if (bytes > maxAnswerBytes) {
      throw new KubeError('GARBAGE', `Kubernetes API sent an answer of more than ${maxAnswerBytes} bytes`);
    }
    chunks.push(chunk as Buffer);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function throwIfRefused(
  response: IncomingMessage,
  { request, text }: { request: string; text: string },
): void {
  const status = response.statusCode ?? 0;
  if (status >= 200 && status < 300) return;
  const seconds = Number(response.headers['retry-after']);
  const retryAfterMs = Number.isFinite(seconds) && seconds > 0 ? seconds * 1000 : undefined;
  throw KubeError.ofStatus(status, { request, message: statusMessage(text), retryAfterMs });
}

/** The message of a `Status` object, or the start of whatever came instead. */
function statusMessage(text: string): string {
  try {
    const { message } = JSON.parse(text) as { message?: unknown };
    if (typeof message === 'string' && message !== '') return message;
  } catch {
    // Proxies and overloaded servers answer in plain text.
  }
  const [line = ''] = text.trim().split('\n');
  return line === '' ? 'no reason given' : line.slice(0, 200);
}

function parseAnswer(text: string, name: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new KubeError('GARBAGE', `Kubernetes API answered ${name} with something that is no JSON`, {
      cause,
    });
  }
}
