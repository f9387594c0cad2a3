// Keeps up the objects that run each waypoint of a cluster, while leading: applied when what is wanted changes, looked
// at again every minute. Where an object of that name is not the Gateway's nothing is applied, and the Gateway's status says
// what is in the way.

import { Backoff } from '../../mesh/runtime/backoff.ts';
import type { Clock } from '../../mesh/runtime/clock.ts';
import type { Logger } from '../../mesh/runtime/logger.ts';
import type { KubeClient } from '../kubernetes/kube-client.ts';
import { KubeError } from '../kubernetes/kube-error.ts';
import { waitFor } from '../kubernetes/wait.ts';
import type { GatewayObject } from '../resources/gateway-gateway.ts';
import { type ObjectReference, objectKey } from '../resources/resources.ts';
import {
  type Manifest,
  type WaypointObjects,
  waypointObjects,
  type WaypointSettings,
} from './waypoint-objects.ts';
import { type Overlay, readOverlay } from './waypoint-overlay.ts';

export interface WaypointDeployerOptions {
  readonly client: Pick<KubeClient, 'request'>;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly settings: WaypointSettings;
  readonly identify: (
    reference: ObjectReference,
  ) => { readonly uid: string; readonly apiVersion: string } | undefined;
  /** PEM, at the moment. */
  readonly roots: () => string | undefined;
  /** The set of problems changed. */
  readonly onProblems: () => void;
  /** For tests; default 60 s. */
  readonly recheckMs?: number;
}

export const waypointFieldManager = 'weft-waypoints';

/** A parametersRef. */
export interface ParametersSource {
  readonly kind: string;
  readonly group: string;
  readonly name: string;
  readonly namespace: string;
}

export interface DeployedGateway {
  readonly object: GatewayObject;
  /** Of the Gateway, else of its class. */
  readonly parameters: ParametersSource | undefined;
}

export class WaypointDeployer {
  readonly #options: WaypointDeployerOptions;
  readonly #closing = new AbortController();
  /** What each Gateway's objects were made from last. */
  readonly #applied = new Map<string, string>();
  #gateways: readonly DeployedGateway[] = [];
  #problems: ReadonlyMap<string, string> = new Map();
  #wake = new AbortController();
  #leading = false;
  #running: Promise<void> | undefined;

  constructor(options: WaypointDeployerOptions) {
    this.#options = options;
  }

  /** Every waypoint there is; those of others are not in it. */
  update(gateways: readonly DeployedGateway[]): void {
    this.#gateways = gateways;
    this.#wake.abort();
  }

  /** A new leader looks at everything. */
  lead(leading: boolean): void {
    this.#leading = leading;
    this.#applied.clear();
    if (leading) this.#running ??= this.#run();
    this.#wake.abort();
  }

  /** What keeps a Gateway's objects from being right, by `namespace/name`. */
  get problems(): ReadonlyMap<string, string> {
    return this.#problems;
  }

  /** Looks again, for example because the root certificate changed. */
  recheck(): void {
    this.#wake.abort();
  }

  async close(): Promise<void> {
    this.#leading = false;
    this.#closing.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { clock, recheckMs = 60_000 } = this.#options;
    const backoff = new Backoff({ minMs: 1_000, maxMs: 60_000, jitter: 0.2 });
    const { signal } = this.#closing;
    let failed = false;
    let lookAgainAt = clock.monotonic();
    while (!signal.aborted) {
      this.#wake = new AbortController();
      const full = clock.monotonic() >= lookAgainAt;
      if (full) lookAgainAt = clock.monotonic() + recheckMs;
      if (this.#leading) failed = !(await this.#reconcile(full));
      if (!failed) backoff.reset();
      const delayMs = failed ? backoff.next() : Math.max(0, lookAgainAt - clock.monotonic());
      if (failed) await waitFor(clock, delayMs, signal);
      else if (!this.#wake.signal.aborted)
        await waitFor(clock, delayMs, AbortSignal.any([signal, this.#wake.signal]));
    }
  }

  /** Those that changed, or all. False if something is to be tried again soon. */
  async #reconcile(full: boolean): Promise<boolean> {
    const problems = new Map<string, string>();
    let good = true;
    for (const gateway of this.#gateways) {
      if (this.#closing.signal.aborted || !this.#leading) return true;
      const { namespace, name } = gateway.object.metadata;
      const key = objectKey(namespace, name);
      try {
        const problem = await this.#deploy(gateway, { key, full });
        if (problem !== '') problems.set(key, problem);
      } catch (error) {
        if (this.#closing.signal.aborted) return true;
        const reason = error instanceof Error ? error.message : String(error);
        problems.set(key, `Its objects could not be applied: ${reason}`);
        this.#applied.delete(key);
        good = good && error instanceof KubeError && error.code === 'INVALID';
      }
    }
    this.#report(problems);
    return good;
  }

  #report(problems: ReadonlyMap<string, string>): void {
    const before = this.#problems;
    this.#problems = problems;
    let changed = before.size !== problems.size;
    for (const [gateway, reason] of problems) {
      if (before.get(gateway) === reason) continue;
      changed = true;
      this.#options.logger.warn({ gateway, reason }, 'a waypoint is not deployed as it should be');
    }
    if (changed) this.#options.onProblems();
  }

  /** What is wrong; `''` if nothing is. */
  async #deploy(
    { object, parameters }: DeployedGateway,
    { key, full }: { readonly key: string; readonly full: boolean },
  ): Promise<string> {
    const { identify, roots, settings } = this.#options;
    const { namespace, name } = object.metadata;
    const identified = identify({ kind: 'Gateway', namespace, name });
    const pem = roots();
    if (identified === undefined || pem === undefined || object.metadata.deleting) return '';
    const from = JSON.stringify([identified, pem, parameters, object]);
    if (!full && this.#applied.get(key) === from) return this.#problems.get(key) ?? '';
    const { overlay, problems } = await this.#overlay(parameters);
    const objects = waypointObjects({ gateway: object, ...identified, roots: pem, overlay }, settings);
    const inTheWay = await this.#apply(objects, identified.uid);
    this.#applied.set(key, from);
    return [...problems, ...objects.problems, ...inTheWay].join('; ');
  }

  async #overlay(
    parameters: ParametersSource | undefined,
  ): Promise<{ readonly overlay: Overlay; readonly problems: readonly string[] }> {
    if (parameters === undefined) return { overlay: {}, problems: [] };
    const { group, kind, namespace, name } = parameters;
    const source = `${kind} ${namespace}/${name} (parametersRef)`;
    if (group !== '' || kind !== 'ConfigMap')
      return { overlay: {}, problems: [`${source}: only a ConfigMap can be one`] };
    const found = await this.#get<{ data?: Record<string, string> }>(configMapPath(namespace, name));
    if (found === undefined) return { overlay: {}, problems: [`${source} does not exist`] };
    return readOverlay(found.data ?? {}, source);
  }

  /**
   * Reads every object before any is written. What the Gateway does not own is not ours to change, and beside it nothing
   * is made: a waypoint with somebody else's service account would lend that its trust.
   */
  async #apply({ wanted, unwanted }: WaypointObjects, uid: string): Promise<readonly string[]> {
    const live = new Map<Manifest, LiveObject>();
    for (const manifest of [...wanted, ...unwanted]) {
      const found = await this.#get<LiveObject>(manifestPath(manifest));
      if (found !== undefined) live.set(manifest, found);
    }
    const inTheWay = wanted.filter((manifest) => live.has(manifest) && !isOwned(live.get(manifest), uid));
    if (inTheWay.length > 0) {
      return inTheWay.map(
        ({ kind, metadata }) =>
          `${kind} ${metadata.namespace}/${metadata.name} exists and is not the Gateway's`,
      );
    }
    for (const manifest of wanted) await this.#put(manifest, live.get(manifest)?.metadata.uid);
    for (const manifest of unwanted) {
      const found = live.get(manifest);
      if (found !== undefined && isOwned(found, uid)) await this.#delete(manifest, found);
    }
    return [];
  }

  async #get<T>(path: string): Promise<T | undefined> {
    try {
      return await this.#options.client.request<T>({ path, signal: this.#closing.signal, timeoutMs: 10_000 });
    } catch (error) {
      if (error instanceof KubeError && error.code === 'NOT_FOUND') return undefined;
      throw error;
    }
  }

  /** `uid` makes the API server refuse to write to another object of that name than the one that was looked at. */
  async #put(manifest: Manifest, uid: string | undefined): Promise<void> {
    const query = new URLSearchParams({ fieldManager: waypointFieldManager, force: 'true' });
    await this.#options.client.request({
      method: 'PATCH',
      path: `${manifestPath(manifest)}?${query}`,
      contentType: 'application/apply-patch+yaml',
      body: uid === undefined ? manifest : { ...manifest, metadata: { ...manifest.metadata, uid } },
      signal: this.#closing.signal,
      timeoutMs: 10_000,
    });
  }

  async #delete(manifest: Manifest, { metadata }: LiveObject): Promise<void> {
    await this.#options.client.request({
      method: 'DELETE',
      path: manifestPath(manifest),
      body: { kind: 'DeleteOptions', apiVersion: 'v1', preconditions: { uid: metadata.uid } },
      signal: this.#closing.signal,
      timeoutMs: 10_000,
    });
  }
}

interface LiveObject {
  readonly metadata: {
    readonly uid: string;
    readonly ownerReferences?: readonly { readonly uid: string }[];
  };
}

function isOwned(object: LiveObject | undefined, uid: string): boolean {
  return (object?.metadata.ownerReferences ?? []).some((owner) => owner.uid === uid);
}

const resources: Readonly<Record<string, string>> = {
  ConfigMap: 'configmaps',
  Deployment: 'deployments',
  HorizontalPodAutoscaler: 'horizontalpodautoscalers',
  PodDisruptionBudget: 'poddisruptionbudgets',
  Service: 'services',
  ServiceAccount: 'serviceaccounts',
};

function manifestPath({ apiVersion, kind, metadata }: Manifest): string {
  const base = apiVersion.includes('/') ? `/apis/${apiVersion}` : `/api/${apiVersion}`;
  return `${base}/namespaces/${metadata.namespace}/${resources[kind]}/${metadata.name}`;
}

function configMapPath(namespace: string, name: string): string {
  return `/api/v1/namespaces/${encodeURIComponent(namespace)}/configmaps/${encodeURIComponent(name)}`;
}
