// Publishes what node tunnels of a cluster verify the controller by: the ConfigMap `weft-roots` in the controller's
// namespace, which their pods mount. The leader writes it when the roots change and looks after it every minute.

import { Backoff } from '../../mesh/runtime/backoff.ts';
import type { Clock } from '../../mesh/runtime/clock.ts';
import type { Logger } from '../../mesh/runtime/logger.ts';
import type { KubeClient } from '../kubernetes/kube-client.ts';
import { waitFor } from '../kubernetes/wait.ts';

export interface RootsPublisherOptions {
  readonly client: Pick<KubeClient, 'request'>;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly namespace: string;
  /** PEM, at the moment; undefined until there is a root. */
  readonly roots: () => string | undefined;
}

const rootsConfigMap = 'weft-roots';
const rootsFile = 'root-cert.pem';

const fieldManager = 'weft-roots';
const recheckMs = 60_000;

export class RootsPublisher {
  readonly #options: RootsPublisherOptions;
  readonly #closing = new AbortController();
  #wake = new AbortController();
  #leading = false;
  #running: Promise<void> | undefined;

  constructor(options: RootsPublisherOptions) {
    this.#options = options;
  }

  lead(leading: boolean): void {
    this.#leading = leading;
    this.#wake.abort();
    if (leading) this.#running ??= this.#run();
  }

  /** The roots changed. */
  recheck(): void {
    this.#wake.abort();
  }

  async close(): Promise<void> {
    this.#leading = false;
    this.#closing.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { clock } = this.#options;
    const backoff = new Backoff({ minMs: 1_000, maxMs: 60_000, jitter: 0.2 });
    const { signal } = this.#closing;
    while (!signal.aborted) {
      this.#wake = new AbortController();
      const done = !this.#leading || (await this.#publish());
      if (done) backoff.reset();
      const delayMs = done ? recheckMs : backoff.next();
      if (!this.#wake.signal.aborted)
        await waitFor(clock, delayMs, AbortSignal.any([signal, this.#wake.signal]));
    }
  }

  /** False if it is to be tried again soon. */
  async #publish(): Promise<boolean> {
    const { client, logger, namespace, roots } = this.#options;
    const pem = roots();
    if (pem === undefined) return true;
    const query = new URLSearchParams({ fieldManager, force: 'true' });
    const labels = { 'app.kubernetes.io/part-of': 'weft' };
    try {
      await client.request({
        method: 'PATCH',
        path: `/api/v1/namespaces/${namespace}/configmaps/${rootsConfigMap}?${query}`,
        contentType: 'application/apply-patch+yaml',
        body: {
          apiVersion: 'v1',
          kind: 'ConfigMap',
          metadata: { name: rootsConfigMap, namespace, labels },
          data: { [rootsFile]: pem },
        },
        signal: this.#closing.signal,
        timeoutMs: 10_000,
      });
      return true;
    } catch (error) {
      if (!this.#closing.signal.aborted) logger.warn({ err: error }, 'the roots could not be published');
      return false;
    }
  }
}
