// A proxy in front of the API server that misbehaves on demand: refuses requests, falls silent, cuts watches off in the
// middle of an event or puts garbage into them. It speaks to the API server as the user who may do everything.

import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer, request, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { ApiServer } from './api-server.ts';

export interface Refusal {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
}

/** What to do with a request: undefined passes it on. */
export type Fault = (path: string) => Refusal | undefined;

export class FaultProxy {
  readonly #upstream: ApiServer;
  readonly #server: Server;
  readonly #watches = new Map<ServerResponse, string>();
  readonly #seen: string[] = [];
  #fault: Fault = () => undefined;
  #silent = false;

  private constructor(upstream: ApiServer) {
    this.#upstream = upstream;
    const { keys } = upstream;
    const pair = {
      cert: readFileSync(keys.path('apiserver.crt')),
      key: readFileSync(keys.path('apiserver.key')),
    };
    this.#server = createServer(pair, (incoming, response) => this.#handle(incoming, response));
  }

  static async start(upstream: ApiServer): Promise<FaultProxy> {
    const proxy = new FaultProxy(upstream);
    proxy.#server.listen(0, '127.0.0.1');
    await once(proxy.#server, 'listening');
    return proxy;
  }

  /** Kubeconfig whose server is this proxy. */
  async kubeconfig(): Promise<string> {
    const { port } = this.#server.address() as AddressInfo;
    return await this.#upstream.keys.tokenKubeconfig('proxy', 'unused', `https://127.0.0.1:${port}`);
  }

  /** Paths asked for since the last call. */
  takeSeen(): readonly string[] {
    return this.#seen.splice(0);
  }

  setFault(fault: Fault | undefined): void {
    this.#fault = fault ?? (() => undefined);
  }

  /** Watches stay open and say nothing more. */
  setSilent(silent: boolean): void {
    this.#silent = silent;
  }

  /** Writes `text` into every open watch whose path has `part`, then ends it if `cut`. Returns how many. */
  inject(part: string, text: string, { cut = false } = {}): number {
    const hit = [...this.#watches].filter(([, path]) => path.includes(part));
    for (const [response] of hit) {
      response.write(text);
      if (cut) response.end();
    }
    return hit.length;
  }

  async close(): Promise<void> {
    this.#server.close();
    this.#server.closeAllConnections();
    if (this.#server.listening) await once(this.#server, 'close');
  }

  #handle(incoming: IncomingMessage, response: ServerResponse): void {
    const path = incoming.url ?? '';
    this.#seen.push(path);
    const refusal = this.#fault(path);
    if (refusal !== undefined) {
      response.writeHead(refusal.status, refusal.headers).end(refusal.body ?? '');
      incoming.resume();
      return;
    }
    const { keys, url } = this.#upstream;
    const { authorization: _token, host: _host, ...headers } = incoming.headers;
    const outgoing = request(url + path, {
      method: incoming.method,
      headers,
      ca: readFileSync(keys.path('ca.crt')),
      cert: readFileSync(keys.path('admin.crt')),
      key: readFileSync(keys.path('admin.key')),
    });
    outgoing.on('error', () => response.destroy());
    outgoing.on('response', (answer) => this.#forward(path, answer, response));
    response.on('close', () => {
      this.#watches.delete(response);
      outgoing.destroy();
    });
    incoming.pipe(outgoing);
  }

  #forward(path: string, answer: IncomingMessage, response: ServerResponse): void {
    response.writeHead(answer.statusCode ?? 502, answer.headers);
    if (!path.includes('watch=1')) {
      answer.pipe(response);
      return;
    }
    response.flushHeaders();
    this.#watches.set(response, path);
    answer.on('data', (chunk: Buffer) => {
      if (!this.#silent && !response.writableEnded) response.write(chunk);
    });
    answer.on('end', () => response.end());
    answer.on('error', () => response.destroy());
  }
}
