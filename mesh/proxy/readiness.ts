// Whether a proxy may get traffic: a set of named start-up tasks, ready when none is left. Served on 15021 as
// the Istio ztunnel does: `GET /healthz/ready` is 200 `ready`, or 500 with the tasks that are pending.

import { type HttpEndpoint, openHttpEndpoint } from '../telemetry/http-endpoint.ts';

export class Readiness {
  readonly #pending = new Set<string>();

  /** Registers a task; the returned function ends it and is idempotent. */
  task(name: string): () => void {
    if (this.#pending.has(name)) throw new Error(`A task "${name}" is pending already`);
    this.#pending.add(name);
    let done = false;
    return () => {
      if (!done) this.#pending.delete(name);
      done = true;
    };
  }

  get pending(): readonly string[] {
    return [...this.#pending];
  }
}

export function openReadinessServer(
  readiness: Readiness,
  options: { readonly address?: string; readonly port: number; readonly onError?: (error: Error) => void },
): Promise<HttpEndpoint> {
  const ready = () => {
    const { pending } = readiness;
    if (pending.length === 0) return { body: 'ready' };
    return { status: 500, body: `not ready, pending: ${pending.join(', ')}\n` };
  };
  return openHttpEndpoint({ ...options, routes: { '/healthz/ready': { get: ready } } });
}
