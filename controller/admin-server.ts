// The controller's admin endpoint: plain HTTP for metrics, health and dumps, with no secrets; every answer is computed
// when it is asked for. Who comes by loopback sees everything; others, as a kubelet or a scraper, readiness and metrics
// only. What changes something is a POST with the admin secret, by loopback.

import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { isLoopback, parseIpAddress } from '../mesh/model/ip-address.ts';
import type { Model } from '../mesh/model/model.ts';
import type { NodesPage } from '../mesh/node-report/nodes-page.ts';
import { isAuthorized } from './admin-secret.ts';
import { CaError } from './ca/ca-error.ts';
import type { ClusterReport } from './cluster-report.ts';
import { splitAddress } from './config.ts';
import { formatProblem, type Problem } from './source/problem.ts';
import type { ObjectStatus } from './translate/statuses.ts';

/** `start` a rotation of the root, take its next step when it is due (`advance`), or now (`force`). */
export type RotationStep = 'start' | 'advance' | 'force';

export interface AdminView {
  ready(): boolean;
  metrics(): Promise<{ readonly contentType: string; readonly text: string }>;
  model(): Model;
  statuses(): readonly ObjectStatus[];
  problems(): readonly Problem[];
  /** One entry for each connected node. */
  nodes(): readonly unknown[];
  /** What nodes report of themselves and of the capture of their pods. */
  nodesPage(): NodesPage;
  certificates(): unknown;
  /** Undefined where resources come from a directory. */
  cluster(): ClusterReport | undefined;
  /** Undefined before the secret is known: nothing can be changed. */
  secret(): string | undefined;
  /** Resolves with the rotation's status. Rejects with CaError. */
  rotate(step: RotationStep): Promise<unknown>;
}

type Answer = { readonly status: number; readonly contentType: string; readonly body: string };

export class AdminServer {
  readonly #view: AdminView;
  readonly #server: Server;

  constructor(view: AdminView) {
    this.#view = view;
    this.#server = createServer((request, response) => void this.#handle(request, response));
    // A scraper that stalls must not hold a connection for ever.
    this.#server.requestTimeout = 10_000;
    this.#server.headersTimeout = 5_000;
    this.#server.maxConnections = 64;
  }

  /** Listens on `IP:PORT` (port 0: any free one) and returns the port. Rejects if it cannot. */
  listen(address: string): Promise<number> {
    const target = splitAddress(address);
    if (target === undefined) throw new RangeError(`Admin address "${address}" is not IP:PORT`);
    return new Promise((resolve, reject) => {
      this.#server.once('error', (cause) => {
        const message = `Listening on admin address "${address}" failed: ${cause.message}; is the port taken?`;
        reject(new Error(message, { cause }));
      });
      this.#server.listen({ host: target.ip, port: target.port }, () => {
        resolve((this.#server.address() as AddressInfo).port);
      });
    });
  }

  close(): Promise<void> {
    return new Promise((resolve) => {
      this.#server.close(() => resolve());
      this.#server.closeAllConnections();
    });
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const answer = await this.#answer(request).catch((error: unknown) =>
      plain(500, `Failed: ${String(error)}\n`),
    );
    response.writeHead(answer.status, { 'content-type': answer.contentType });
    response.end(answer.body);
  }

  async #answer(request: IncomingMessage): Promise<Answer> {
    const [path = '/'] = (request.url ?? '/').split('?');
    if (!isLocal(request.socket.remoteAddress) && !publicPaths.has(path)) {
      return plain(403, `Only ${[...publicPaths].join(' and ')} are served to others than this machine\n`);
    }
    if (request.method === 'POST') return await this.#change(request);
    if (request.method !== 'GET' && request.method !== 'HEAD')
      return plain(405, 'Only GET is served here, and POST to change something\n');
    switch (path) {
      case '/':
        return plain(200, `${paths.join('\n')}\n`);
      case '/healthz/ready':
        return this.#view.ready() ? plain(200, 'ready\n') : plain(500, 'waiting for the first manifests\n');
      case '/metrics': {
        const { contentType, text } = await this.#view.metrics();
        return { status: 200, contentType, body: text };
      }
      case '/config_dump':
        return json(dumpModel(this.#view.model()));
      case '/statuses':
        return json(this.#view.statuses());
      case '/nodes':
        return json(this.#view.nodes());
      case '/debug/nodes':
        return json(this.#view.nodesPage());
      case '/certificates':
        return json(this.#view.certificates());
      case '/cluster': {
        const report = this.#view.cluster();
        return report === undefined ? plain(404, 'Resources come from a directory\n') : json(report);
      }
      case '/debug/problems':
        return json(this.#view.problems().map((problem) => ({ ...problem, text: formatProblem(problem) })));
      default:
        return plain(404, `Unknown path; known are ${paths.join(', ')}\n`);
    }
  }

  async #change(request: IncomingMessage): Promise<Answer> {
    request.resume();
    const step = steps.get(request.url ?? '');
    if (step === undefined) return plain(404, `Unknown path; known are ${[...steps.keys()].join(', ')}\n`);
    const secret = this.#view.secret();
    if (secret === undefined || !isAuthorized(request.headers.authorization, secret)) {
      return plain(403, 'Changing something needs the admin secret of the state directory\n');
    }
    try {
      return json(await this.#view.rotate(step));
    } catch (error) {
      if (error instanceof CaError) return plain(409, `${error.message}\n`);
      throw error;
    }
  }
}

const steps: ReadonlyMap<string, RotationStep> = new Map([
  ['/ca/rotation/start', 'start'],
  ['/ca/rotation/advance', 'advance'],
  ['/ca/rotation/force', 'force'],
]);

const paths = [
  '/healthz/ready',
  '/metrics',
  '/config_dump',
  '/statuses',
  '/nodes',
  '/certificates',
  '/cluster',
  '/debug/problems',
  '/debug/nodes',
];

const publicPaths: ReadonlySet<string> = new Set(['/healthz/ready', '/metrics']);

/** A request without an address is of a connection that is gone already. */
function isLocal(address = ''): boolean {
  // A listener of both families gives IPv4 as "::ffff:a.b.c.d".
  const ip = parseIpAddress(address.replace(/^::ffff:/, ''));
  return ip !== undefined && isLoopback(ip);
}

/** Lists instead of maps, as in the node's own dump. */
function dumpModel(model: Model): unknown {
  return {
    meshConfig: model.meshConfig,
    workloads: [...model.workloads.values()],
    services: [...model.services.values()],
    policies: [...model.policies.values()],
    pods: [...model.pods.values()],
    waypoints: [...model.waypoints.values()],
    routings: [...model.routings.values()],
    requestAuthentications: [...model.requestAuthentications.values()],
  };
}

function plain(status: number, body: string): Answer {
  return { status, contentType: 'text/plain; charset=utf-8', body };
}

function json(value: unknown): Answer {
  const body = JSON.stringify(
    value,
    (_key, inner: unknown) => (inner instanceof Map ? Object.fromEntries(inner) : inner),
    2,
  );
  return { status: 200, contentType: 'application/json', body: `${body}\n` };
}
