// A small HTTP server for operators and scrapers: fixed paths, short requests, whole responses. Hardened, because it
// listens where others can reach it: bounded headers, bodies, time and connections; an optional Host check against
// DNS rebinding; POST refused from web pages. What the paths say is the caller's business.

import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface HttpReply {
  readonly status?: number;
  /** Default `text/plain; charset=utf-8`. */
  readonly contentType?: string;
  readonly body: string;
}

export interface HttpQuery {
  readonly params: URLSearchParams;
  readonly body: string;
}

export type HttpHandler = (query: HttpQuery) => HttpReply | Promise<HttpReply>;

export interface HttpRoute {
  readonly get?: HttpHandler;
  readonly post?: HttpHandler;
}

export interface HttpEndpointOptions {
  readonly routes: Readonly<Record<string, HttpRoute>>;
  /** Default: every address, IPv6 and IPv4 on one socket, or IPv4 alone where the machine has no IPv6. */
  readonly address?: string;
  /** 0 takes a free one. */
  readonly port: number;
  /** Host header values (without port) that are served; default all. */
  readonly allowedHosts?: readonly string[];
  readonly onError?: (error: Error) => void;
}

export interface HttpEndpoint {
  readonly address: string;
  readonly port: number;
  /** Stops listening and drops what is open. */
  close(): Promise<void>;
}

// Not imported: an import reads every export, and one of node:http's is a getter that loads all of fetch (5 MB).
const http = process.getBuiltinModule('node:http');

const maxHeaderSize = 8 * 1024;
const maxBodyBytes = 4 * 1024;
const headersTimeoutMs = 5_000;
const requestTimeoutMs = 10_000;
const keepAliveTimeoutMs = 5_000;
const maxConnections = 64;

/** @throws Error with what could not be bound */
export async function openHttpEndpoint(options: HttpEndpointOptions): Promise<HttpEndpoint> {
  const server = http.createServer(
    {
      maxHeaderSize,
      headersTimeout: headersTimeoutMs,
      requestTimeout: requestTimeoutMs,
      keepAliveTimeout: keepAliveTimeoutMs,
    },
    (request, response) => void serve(request, response, options),
  );
  server.maxConnections = maxConnections;
  server.maxRequestsPerSocket = 1_000;
  await listen(server, options);
  server.on('error', (error) => options.onError?.(error));
  const { address, port } = server.address() as AddressInfo;
  return {
    address,
    port,
    async close() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeAllConnections();
      await closed;
    },
  };
}

function listen(server: Server, { address, port }: HttpEndpointOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (cause: NodeJS.ErrnoException) =>
      reject(
        new Error(
          `Could not listen on ${address ?? 'every address,'} port ${port}: ${cause.code ?? cause.message}; is another proxy running here?`,
          { cause },
        ),
      ),
    );
    // Without a host Node takes `::` with IPV6_V6ONLY off, and 0.0.0.0 where that cannot be bound.
    server.listen({ port, ...(address === undefined ? {} : { host: address }) }, () => {
      server.removeAllListeners('error');
      resolve();
    });
  });
}

async function serve(
  request: IncomingMessage,
  response: ServerResponse,
  options: HttpEndpointOptions,
): Promise<void> {
  // A client that went away while it was served is no error.
  response.on('error', () => {});
  request.on('error', () => {});
  let reply: HttpReply;
  try {
    reply = await dispatch(request, options);
  } catch (error) {
    options.onError?.(error instanceof Error ? error : new Error(String(error)));
    reply = { status: 500, body: 'Internal error\n' };
  }
  const { status = 200, contentType = 'text/plain; charset=utf-8', body } = reply;
  response.writeHead(status, {
    'content-type': contentType,
    'content-length': Buffer.byteLength(body),
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
    // An unread body must not be taken for the next request.
    ...(request.complete ? {} : { connection: 'close' }),
  });
  response.end(request.method === 'HEAD' ? undefined : body);
}

async function dispatch(request: IncomingMessage, options: HttpEndpointOptions): Promise<HttpReply> {
  if (!isAllowedHost(request.headers.host, options.allowedHosts)) {
    return { status: 403, body: 'Host not allowed: this address serves local clients only\n' };
  }
  const target = request.url ?? '/';
  const mark = target.indexOf('?');
  const path = mark < 0 ? target : target.slice(0, mark);
  const route = Object.hasOwn(options.routes, path) ? options.routes[path] : undefined;
  if (route === undefined) return { status: 404, body: 'Not found\n' };
  const isRead = request.method === 'GET' || request.method === 'HEAD';
  const handler = isRead ? route.get : request.method === 'POST' ? route.post : undefined;
  if (handler === undefined) {
    const allowed = [route.get && 'GET', route.post && 'POST'].filter(Boolean).join(', ');
    return { status: 405, body: `Method not allowed, use ${allowed}\n` };
  }
  // Browsers send Origin with every POST of a page; curl and istioctl do not.
  if (!isRead && request.headers.origin !== undefined) {
    return { status: 403, body: 'Requests from web pages are not allowed\n' };
  }
  const body = await readBody(request);
  if (body === undefined) return { status: 413, body: `Body over ${maxBodyBytes} bytes\n` };
  return handler({ params: new URLSearchParams(mark < 0 ? '' : target.slice(mark + 1)), body });
}

function isAllowedHost(header: string | undefined, allowed: readonly string[] | undefined): boolean {
  if (allowed === undefined) return true;
  if (header === undefined) return false;
  return allowed.includes(header.replace(/:\d+$/, '').toLowerCase());
}

/** Undefined if it is too long. */
async function readBody(request: IncomingMessage): Promise<string | undefined> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > maxBodyBytes) return undefined;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}
