// Leader election by a Lease, as Kubernetes' own controllers do it: one replica leads, the others wait until its lease
// was not renewed for its whole length, measured by their own clocks, so that skewed clocks cannot make two leaders.
// Invariant: a leader stops leading before anybody else may take over, whatever its requests do.

import type { Clock, Timer } from '../mesh/runtime/clock.ts';
import type { Logger } from '../mesh/runtime/logger.ts';
import type { KubeClient } from './kubernetes/kube-client.ts';
import { KubeError } from './kubernetes/kube-error.ts';
import { waitFor } from './kubernetes/wait.ts';

export interface LeaderOptions {
  readonly client: Pick<KubeClient, 'request'>;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly namespace: string;
  /** Name of the Lease. */
  readonly name: string;
  /** Unique to this process, for example pod name and a random part. */
  readonly identity: string;
  /** Told at every change; starts as not leading. */
  readonly onChange: (leading: boolean) => void;
  /** How long others wait after the last renewal; default 15 s. A leader gives up after two thirds of it. */
  readonly leaseMs?: number;
  /** Between attempts; default 2 s. */
  readonly retryMs?: number;
}

interface Lease {
  readonly metadata: { readonly resourceVersion?: string };
  readonly spec?: {
    readonly holderIdentity?: string | null;
    readonly leaseDurationSeconds?: number | null;
    readonly renewTime?: string | null;
    readonly acquireTime?: string | null;
    readonly leaseTransitions?: number | null;
  };
}

export class LeaderElection {
  readonly #options: LeaderOptions;
  readonly #leaseMs: number;
  readonly #retryMs: number;
  readonly #closing = new AbortController();
  #running: Promise<void> | undefined;
  #leading = false;
  #holder = '';
  #deadline: Timer | undefined;
  /** The lease as it was seen last, and when it changed by our own clock. */
  #observed: { readonly version: string; readonly at: number } | undefined;
  #lastFailure = '';

  constructor(options: LeaderOptions) {
    this.#options = options;
    this.#leaseMs = options.leaseMs ?? 15_000;
    this.#retryMs = options.retryMs ?? 2_000;
  }

  get leading(): boolean {
    return this.#leading;
  }

  /** Identity of whoever holds the lease, as far as known; `''` if nobody. */
  get holder(): string {
    return this.#holder;
  }

  start(): void {
    this.#running ??= this.#run();
  }

  /** Stops leading and gives the lease back, so that another replica need not wait. Idempotent. */
  async close(): Promise<void> {
    const wasLeading = this.#leading;
    this.#closing.abort();
    await this.#running;
    this.#setLeading(false);
    if (wasLeading) await this.#release().catch(() => {});
  }

  async #run(): Promise<void> {
    const { clock, logger } = this.#options;
    const { signal } = this.#closing;
    while (!signal.aborted) {
      try {
        await this.#attempt(clock.monotonic());
        this.#lastFailure = '';
      } catch (error) {
        if (signal.aborted) return;
        const reason = error instanceof Error ? error.message : String(error);
        const isRace = error instanceof KubeError && error.code === 'CONFLICT';
        if (!isRace && reason !== this.#lastFailure)
          logger.warn({ reason }, 'leader election failed, trying again');
        this.#lastFailure = reason;
      }
      await waitFor(clock, this.#retryMs, signal);
    }
  }

  /** `startedAt`: the lease counts from before the request, never from its answer. */
  async #attempt(startedAt: number): Promise<void> {
    const lease = await this.#read();
    if (this.#closing.signal.aborted) return;
    if (lease === undefined) {
      await this.#write('POST', { metadata: {} }, { acquired: true });
      return this.#hold(startedAt);
    }
    this.#observe(lease);
    const holder = lease.spec?.holderIdentity ?? '';
    const mine = holder === this.#options.identity;
    if (!mine && holder !== '' && !this.#expired(lease)) {
      this.#holder = holder;
      this.#setLeading(false);
      return;
    }
    await this.#write('PUT', lease, { acquired: !mine });
    this.#hold(startedAt);
  }

  #observe({ metadata }: Lease): void {
    const version = metadata.resourceVersion ?? '';
    if (this.#observed?.version === version) return;
    this.#observed = { version, at: this.#options.clock.monotonic() };
  }

  #expired({ spec }: Lease): boolean {
    const seconds = spec?.leaseDurationSeconds ?? 0;
    const since = this.#options.clock.monotonic() - (this.#observed?.at ?? 0);
    return since > Math.max(1_000, seconds * 1_000);
  }

  #hold(startedAt: number): void {
    const { clock, identity } = this.#options;
    if (this.#closing.signal.aborted) return;
    this.#holder = identity;
    this.#deadline?.cancel();
    const left = startedAt + (this.#leaseMs * 2) / 3 - clock.monotonic();
    if (left <= 0) return this.#setLeading(false);
    this.#deadline = clock.after(left, () => this.#setLeading(false));
    this.#setLeading(true);
  }

  #setLeading(leading: boolean): void {
    if (!leading) this.#deadline?.cancel();
    if (this.#leading === leading) return;
    this.#leading = leading;
    const { logger, identity, onChange } = this.#options;
    logger.info({ identity, holder: this.#holder }, leading ? 'leading' : 'no longer leading');
    onChange(leading);
  }

  async #read(): Promise<Lease | undefined> {
    try {
      return await this.#request<Lease>({ path: `${this.#collection}/${this.#options.name}` });
    } catch (error) {
      if (error instanceof KubeError && error.code === 'NOT_FOUND') return undefined;
      throw error;
    }
  }

  async #write(method: 'POST' | 'PUT', lease: Lease, { acquired }: { acquired: boolean }): Promise<void> {
    const { name, namespace, identity, clock } = this.#options;
    const now = microTime(clock.now());
    const { spec } = lease;
    const transitions = spec?.leaseTransitions ?? 0;
    const body = {
      apiVersion: 'coordination.k8s.io/v1',
      kind: 'Lease',
      metadata: { ...lease.metadata, name, namespace },
      spec: {
        holderIdentity: identity,
        leaseDurationSeconds: Math.ceil(this.#leaseMs / 1_000),
        acquireTime: acquired ? now : (spec?.acquireTime ?? now),
        renewTime: now,
        leaseTransitions: acquired && method === 'PUT' ? transitions + 1 : transitions,
      },
    };
    // The resource version in it makes the API server refuse whoever was slower.
    const path = method === 'POST' ? this.#collection : `${this.#collection}/${name}`;
    this.#observe(await this.#request<Lease>({ method, path, body }));
  }

  async #release(): Promise<void> {
    const { name, identity, client, clock } = this.#options;
    const path = `${this.#collection}/${name}`;
    const lease = await client.request<Lease>({ path, timeoutMs: 2_000 });
    if (lease.spec?.holderIdentity !== identity) return;
    const spec = {
      ...lease.spec,
      holderIdentity: '',
      leaseDurationSeconds: 1,
      renewTime: microTime(clock.now()),
    };
    await client.request({ method: 'PUT', path, body: { ...lease, spec }, timeoutMs: 2_000 });
  }

  get #collection(): string {
    return `/apis/coordination.k8s.io/v1/namespaces/${this.#options.namespace}/leases`;
  }

  async #request<T>(request: Parameters<KubeClient['request']>[0]): Promise<T> {
    const { signal } = this.#closing;
    return await this.#options.client.request<T>({ ...request, signal, timeoutMs: this.#leaseMs / 3 });
  }
}

/** `metav1.MicroTime`. */
function microTime(ms: number): string {
  return new Date(ms).toISOString().replace('Z', '000Z');
}
