// As much of a Kubernetes API server as the controller talks to: discovery, lists in pages, watches, and objects that
// are written back. It stands in for the real one (`--api-server`), whose own cost on the same cores would be measured
// along. Answers on loopback only; no authentication, no validation, no history (a watch starts at now).

import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { RawObject } from './mesh-objects.ts';
import type { ObjectApi } from './object-api.ts';

/** By collection: what is served, and as which kind. */
const served = [
  { path: '/api/v1/namespaces', group: '', kind: 'Namespace' },
  { path: '/api/v1/nodes', group: '', kind: 'Node' },
  { path: '/api/v1/pods', group: '', kind: 'Pod' },
  { path: '/api/v1/services', group: '', kind: 'Service' },
  { path: '/apis/discovery.k8s.io/v1/endpointslices', group: 'discovery.k8s.io', kind: 'EndpointSlice' },
  { path: '/apis/apiextensions.k8s.io/v1/customresourcedefinitions', group: '-', kind: '' },
] as const;

interface Collection {
  readonly objects: Map<string, RawObject>;
  readonly watchers: Set<ServerResponse>;
}

const bookmarkEveryMs = 30_000;

export class StandInApi implements ObjectApi {
  readonly #server: Server;
  readonly #collections = new Map<string, Collection>();
  /** Leases and secrets, by path. */
  readonly #others = new Map<string, unknown>();
  readonly #bookmarks: NodeJS.Timeout;
  #version = 1;

  private constructor() {
    for (const { path } of served) this.#collections.set(path, { objects: new Map(), watchers: new Set() });
    this.#server = createServer((request, response) => void this.#handle(request, response));
    this.#bookmarks = setInterval(() => this.#bookmark(), bookmarkEveryMs);
  }

  static async start(): Promise<StandInApi> {
    const api = new StandInApi();
    await new Promise<void>((resolve) => {
      api.#server.listen({ host: '127.0.0.1', port: 0 }, resolve);
    });
    return api;
  }

  async kubeconfig(): Promise<string> {
    const server = `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
    return JSON.stringify({
      apiVersion: 'v1',
      kind: 'Config',
      'current-context': 'bench',
      // The client library refuses plain HTTP without it.
      clusters: [{ name: 'bench', cluster: { server, 'insecure-skip-tls-verify': true } }],
      users: [{ name: 'bench', user: {} }],
      contexts: [{ name: 'bench', context: { cluster: 'bench', user: 'bench' } }],
    });
  }

  async close(): Promise<void> {
    clearInterval(this.#bookmarks);
    this.#server.close();
    this.#server.closeAllConnections();
  }

  async fill(objects: readonly RawObject[]): Promise<void> {
    for (const object of objects) this.#put(object);
  }

  async changePod(pod: RawObject): Promise<void> {
    this.#put(pod);
  }

  /** Creates or replaces an object and tells the watches. */
  #put(object: RawObject): void {
    const path = served.find(({ kind }) => kind === object.kind)?.path;
    const collection = path === undefined ? undefined : this.#collections.get(path);
    if (collection === undefined) throw new Error(`Kind "${object.kind}" is not served here`);
    const key = `${object.metadata.namespace ?? ''}/${object.metadata.name}`;
    const type = collection.objects.has(key) ? 'MODIFIED' : 'ADDED';
    this.#version += 1;
    const metadata = { ...object.metadata, resourceVersion: String(this.#version) };
    const stored: RawObject = { ...object, metadata };
    collection.objects.set(key, stored);
    const line = `${JSON.stringify({ type, object: stored })}\n`;
    for (const watcher of collection.watchers) watcher.write(line);
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { pathname, searchParams } = new URL(request.url ?? '/', 'http://stand-in');
    if (request.method !== 'GET') return await this.#write(request, response, pathname);
    const collection = this.#collections.get(pathname);
    const found = discovery(pathname) ?? this.#others.get(pathname);
    if (collection === undefined) {
      if (found === undefined) return answer(response, 404, { message: 'not found' });
      return answer(response, 200, found);
    }
    if (searchParams.get('watch') === null)
      return answer(response, 200, this.#list(collection, searchParams));
    response.writeHead(200, { 'content-type': 'application/json' });
    response.flushHeaders();
    collection.watchers.add(response);
    response.on('close', () => collection.watchers.delete(response));
  }

  #list({ objects }: Collection, query: URLSearchParams): unknown {
    const start = Number(query.get('continue') ?? 0);
    const end = start + Number(query.get('limit') ?? 500);
    const more = end < objects.size ? { continue: String(end) } : {};
    const items = [...objects.values()].slice(start, end);
    return { items, metadata: { resourceVersion: String(this.#version), ...more } };
  }

  async #write(request: IncomingMessage, response: ServerResponse, path: string): Promise<void> {
    let text = '';
    for await (const chunk of request.setEncoding('utf8')) text += chunk as string;
    const body = JSON.parse(text) as RawObject;
    this.#version += 1;
    const stored = { ...body, metadata: { ...body.metadata, resourceVersion: String(this.#version) } };
    this.#others.set(request.method === 'POST' ? `${path}/${body.metadata.name}` : path, stored);
    answer(response, request.method === 'POST' ? 201 : 200, stored);
  }

  #bookmark(): void {
    const object = { metadata: { resourceVersion: String(this.#version) } };
    const line = `${JSON.stringify({ type: 'BOOKMARK', object })}\n`;
    for (const { watchers } of this.#collections.values())
      for (const watcher of watchers) watcher.write(line);
  }
}

function discovery(path: string): unknown {
  if (path === '/apis/discovery.k8s.io') return { versions: [{ version: 'v1' }] };
  const kinds = served.filter((one) => path === one.path.replace(/\/[^/]+$/, '') && one.group !== '-');
  if (kinds.length === 0) return undefined;
  const verbs = ['get', 'list', 'watch'];
  return { resources: kinds.map(({ kind, path: full }) => ({ name: full.split('/').at(-1), kind, verbs })) };
}

function answer(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify(body));
}
