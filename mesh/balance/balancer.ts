// Which endpoint a connection or a request goes to. Pure: no I/O, time and randomness are given; one balancer a data
// worker. Owns the order of the decisions and the feedback of what became of them; algorithms, memory and health have
// files of their own. Invariant: an endpoint that is excluded, unhealthy, of capacity 0 or not a candidate by locality
// is never picked; an ejected one only if every other candidate is excluded or ejected too.

import type { ModelDelta } from '../model/model.ts';
import type { Service } from '../model/service.ts';
import {
  defaultOutlierDetection,
  type HttpTrafficPolicy,
  type OutlierDetection,
} from '../model/traffic-policy.ts';
import type { WorkloadUid } from '../model/workload.ts';
import type { Snapshot } from '../state/snapshot.ts';
import { Admission } from './admission.ts';
import { type BalancingAlgorithm, chooseEndpoint } from './endpoint-choice.ts';
import { ejectionAllowed } from './endpoint-health.ts';
import type { Candidate, EndpointQuery, EndpointState, EndpointTarget } from './endpoint-list.ts';
import {
  comparisonIntervalMs,
  findOutliers,
  type HttpOutlierDetection,
  isServerFailure,
} from './http-outliers.ts';
import { keptShare } from './locality.ts';
import { type CandidateList, candidateOf, ServiceMemory, type ServiceState } from './service-memory.ts';
import type { Tier } from './tier.ts';

export type { EndpointTarget } from './endpoint-list.ts';

export interface PickRequest extends EndpointQuery {
  /** Endpoints this connection or request already tried. */
  readonly excluded: ReadonlySet<WorkloadUid>;
  /**
   * `request`: one of many on shared connections, so the service's limit of connections is not its business. Default
   * `request` with `http`, else `connection`.
   */
  readonly unit?: 'connection' | 'request';
  /** Where no policy names an algorithm; default `peak-ewma`. */
  readonly defaultBalancing?: BalancingAlgorithm;
  /** Of a request: the settings that are in force for the service it goes to. */
  readonly http?: HttpTrafficPolicy;
  /** What ring hash and Maglev look up: 32 bits, `hashText` of the request's key; without it they draw. */
  readonly hash?: number;
  /** The endpoint of the session this request belongs to: picked if it may be picked at all. */
  readonly preferred?: WorkloadUid;
}

export type PickResult =
  | { readonly kind: 'endpoint'; readonly endpoint: EndpointTarget; readonly handle: PickHandle }
  | {
      readonly kind: 'none';
      readonly reason:
        | 'no-endpoints'
        | 'no-such-port'
        | 'all-excluded'
        | 'connection-limit'
        /** Every endpoint is ejected and the policy lets all be ejected: answered at once (503, UH). */
        | 'circuit-open';
      readonly message: string;
    };

/**
 * `connect`: TCP refused, unreachable or timed out; `tunnel`: TLS, HTTP/2 or a CONNECT status that blames the endpoint.
 * Both count against it. `denied` (policy said no) and `cancelled` (the client went away) say nothing about it.
 */
export type DialFailure = 'connect' | 'tunnel' | 'denied' | 'cancelled';

/** Names one pick in the feedback calls. Opaque to callers. */
export interface PickHandle {
  readonly uid: WorkloadUid;
}

/** How long the healthy share of the near endpoints is taken as known. */
const availabilityMs = 100;

export class Balancer {
  readonly #random: () => number;
  readonly #now: () => number;
  readonly #shards: number;
  readonly #memory: ServiceMemory;
  readonly #admission = new Admission();

  /**
   * @param options.random uniform in [0, 1)
   * @param options.now monotonic ms
   * @param options.shards data workers of the node: each enforces its share of a connection limit
   */
  constructor(options: {
    readonly random: () => number;
    readonly now: () => number;
    readonly shards?: number;
  }) {
    this.#random = options.random;
    this.#now = options.now;
    this.#shards = options.shards ?? 1;
    this.#memory = new ServiceMemory(options.now);
  }

  /** Endpoints and services remembered. */
  get size(): number {
    return this.#memory.size;
  }

  pick(snapshot: Snapshot, request: PickRequest): PickResult {
    const { service, http } = request;
    const state = this.#memory.stateOf(snapshot, service);
    const forRequest = (request.unit ?? (http === undefined ? 'connection' : 'request')) === 'request';
    if (!forRequest && this.#isFull(state)) return connectionLimit(state);
    const list = this.#memory.listFor(state, request);
    if (list.tiers.length === 0) return noCandidates(request, state);
    const admission = this.#admission;
    admission.now = this.#now();
    admission.excluded = request.excluded;
    admission.forRequest = forRequest;
    admission.slowStartMs = http?.slowStartMs ?? 0;
    admission.admitsEjected = false;
    const candidate =
      this.#ofSession(list, request.preferred) ??
      this.#pickFromTiers(list, request) ??
      this.#lastResort(list, request);
    if (candidate === undefined) return this.#nobody(list, request);
    candidate.state.load.pickedAt = admission.now;
    const handle = new Handle(candidate.state, { list, service: state, http, forRequest });
    return { kind: 'endpoint', endpoint: candidate, handle };
  }

  /** The dial starts: it counts as pending and open from here. */
  begin(handle: PickHandle): void {
    const dial = handle as Handle;
    if (dial.phase !== 'picked') return;
    const { load, health } = dial.endpoint;
    dial.phase = 'dialling';
    dial.startedAt = this.#now();
    dial.isProbe = health.isOnProbation(dial.startedAt);
    if (dial.isProbe) health.probes++;
    load.pending++;
    load.open++;
    dial.service.open++;
  }

  /**
   * @param durationMs from dial to an open stream or connection
   * @param options.setUp the duration holds the set-up of a tunnel that others will share
   */
  connected(handle: PickHandle, durationMs: number, options: { readonly setUp?: boolean } = {}): void {
    const dial = handle as Handle;
    if (dial.phase !== 'dialling') return;
    dial.phase = 'connected';
    const now = this.#now();
    const { load, health } = dial.endpoint;
    load.pending--;
    if (options.setUp !== true) load.observe(durationMs, now);
    health.succeeded(now);
    // Nothing better will be known of a plain connection; of a request, its response.
    if (!dial.forRequest && health.isOnProbation(now)) health.answered(now);
    if (!health.isOnProbation(now)) endProbe(dial);
  }

  /**
   * The dial failed, which also closes the handle; or, after `connected`, the tunnel under it broke: `closed` is then
   * still to come. Returns true if this failure ejected the endpoint.
   */
  failed(handle: PickHandle, kind: DialFailure): boolean {
    const dial = handle as Handle;
    if (dial.phase === 'closed') return false;
    const now = this.#now();
    const { load, health } = dial.endpoint;
    const blames = kind === 'connect' || kind === 'tunnel';
    if (dial.phase === 'dialling') {
      load.pending--;
      if (blames) load.observeFailure(now - dial.startedAt, now);
      this.#release(dial);
    }
    if (!blames) return false;
    return health.failed(now, ejectionPolicy(dial.service.service, dial.http), () => mayEject(dial, now));
  }

  /**
   * An endpoint answered a request, or did not: `status` 0 for a reset or a broken connection before the response, 504
   * for a try that timed out. Returns true if this ejected the endpoint.
   * @param outcome.latencyMs from sending the request to the response's head, or to the failure
   */
  responded(handle: PickHandle, outcome: { readonly status: number; readonly latencyMs: number }): boolean {
    const dial = handle as Handle;
    const { endpoint, http } = dial;
    const { status, latencyMs } = outcome;
    const now = this.#now();
    const failed = isServerFailure(status);
    endpoint.load.observeResponse(latencyMs, now, { failed });
    // What was sent before an ejection says nothing about how the endpoint is since.
    if (dial.startedAt < endpoint.health.ejectedAt) return false;
    const detection = http?.httpOutlierDetection;
    const inRow = detection !== undefined && endpoint.http.count(status, latencyMs, detection);
    if (!failed) {
      endpoint.health.answered(now);
      endProbe(dial);
    }
    if (detection === undefined) return false;
    const ejected = (inRow || (failed && dial.isProbe)) && this.#eject(dial, endpoint);
    this.#compare(dial, detection);
    return ejected;
  }

  /** The connection or request ended, whatever its phase; idempotent. */
  closed(handle: PickHandle): void {
    const dial = handle as Handle;
    if (dial.phase === 'dialling') dial.endpoint.load.pending--;
    if (dial.phase === 'dialling' || dial.phase === 'connected') this.#release(dial);
    dial.phase = 'closed';
  }

  /** Forgets what is gone. A StoreListener: `store.subscribe((snapshot, delta) => balancer.onChange(snapshot, delta))`. */
  onChange(_snapshot: Snapshot, delta: { readonly removed: ModelDelta['removed'] }): void {
    this.#memory.forget(delta.removed);
  }

  /** For dumps: uid and health of endpoints that are not plainly healthy. */
  ejections(): { readonly uid: WorkloadUid; readonly state: 'ejected' | 'probation' }[] {
    const now = this.#now();
    const out: { uid: WorkloadUid; state: 'ejected' | 'probation' }[] = [];
    for (const { uid, health } of this.#memory.endpoints()) {
      if (health.isEjected(now)) out.push({ uid, state: 'ejected' });
      else if (health.isOnProbation(now)) out.push({ uid, state: 'probation' });
    }
    return out;
  }

  #isFull({ open, service }: ServiceState): boolean {
    const limit = service.trafficPolicy?.maxConnections;
    return limit !== undefined && open >= Math.max(1, Math.floor(limit / this.#shards));
  }

  #release(dial: Handle): void {
    dial.phase = 'closed';
    dial.endpoint.load.open--;
    endProbe(dial);
    dial.service.open--;
    this.#memory.connectionClosed(dial.service);
  }

  #eject(dial: Handle, endpoint: EndpointState): boolean {
    const now = this.#now();
    const ejected = endpoint.health.eject(now, ejectionPolicy(dial.service.service, dial.http), {
      cause: 'response',
      mayEject: () => mayEject(dial, now),
    });
    if (ejected) endpoint.http.forgiveRow();
    return ejected;
  }

  /** Every ten seconds: endpoints whose responses are worse than those of the others. */
  #compare(dial: Handle, detection: HttpOutlierDetection): void {
    const { service } = dial;
    const now = this.#now();
    if (now < service.compareAt) return;
    service.compareAt = now + comparisonIntervalMs;
    const { states } = currentList(dial);
    const measured = states
      .filter(({ health }) => health.isInRotation(now))
      .map((endpoint) => ({ endpoint, statistics: endpoint.http }));
    for (const endpoint of findOutliers(measured, detection)) this.#eject(dial, endpoint);
    for (const { http } of states) http.startOver();
  }

  #ofSession(list: CandidateList, preferred: WorkloadUid | undefined): Candidate | undefined {
    if (preferred === undefined) return undefined;
    const candidate = candidateOf(list, preferred);
    return candidate !== undefined && this.#admission.admits(candidate) ? candidate : undefined;
  }

  /** The nearest tier, unless it hands over what it can not serve; what the others can not serve comes back to it. */
  #pickFromTiers(list: CandidateList, request: PickRequest): Candidate | undefined {
    const { tiers } = list;
    let handedOver = false;
    for (let i = 0; i < tiers.length; i++) {
      const tier = tiers[i] as Tier;
      if (i < tiers.length - 1 && this.#handsOver(tier)) {
        handedOver = true;
        continue;
      }
      const candidate = this.#choose(tier, request);
      if (candidate !== undefined) return candidate;
    }
    return handedOver ? this.#firstOfTiers(list, request) : undefined;
  }

  #firstOfTiers(list: CandidateList, request: PickRequest): Candidate | undefined {
    for (const tier of list.tiers) {
      const candidate = this.#choose(tier, request);
      if (candidate !== undefined) return candidate;
    }
    return undefined;
  }

  #handsOver(tier: Tier): boolean {
    const { now } = this.#admission;
    if (now >= tier.availableAt + availabilityMs) {
      let inRotation = 0;
      for (const { state, weight } of tier.candidates) if (!state.health.isEjected(now)) inRotation += weight;
      tier.availability = keptShare(inRotation, tier.knownWeight);
      tier.availableAt = now;
    }
    return tier.availability < 1 && this.#random() >= tier.availability;
  }

  #choose(tier: Tier, { http, service, defaultBalancing, hash }: PickRequest): Candidate | undefined {
    const algorithm = http?.balancing ?? service.trafficPolicy?.balancing ?? defaultBalancing ?? 'peak-ewma';
    return chooseEndpoint(tier, { algorithm, admission: this.#admission, random: this.#random, hash });
  }

  /** Ejected endpoints, when there are no others: unless the policy wants an open circuit then. */
  #lastResort(list: CandidateList, request: PickRequest): Candidate | undefined {
    if (opensCircuit(request)) return undefined;
    this.#admission.admitsEjected = true;
    return this.#firstOfTiers(list, request);
  }

  #nobody({ states }: CandidateList, request: PickRequest): PickResult {
    const { service, servicePort, excluded } = request;
    const where = `endpoints of service "${service.hostname}" port ${servicePort}`;
    const { now } = this.#admission;
    const triedOne = states.some(({ uid, health }) => excluded.has(uid) && health.isInRotation(now));
    if (opensCircuit(request) && !triedOne) {
      return none('circuit-open', `All ${states.length} ${where} are ejected: the circuit is open`);
    }
    return none('all-excluded', `All ${states.length} ${where} were tried`);
  }
}

class Handle implements PickHandle {
  readonly endpoint: EndpointState;
  readonly list: CandidateList;
  readonly service: ServiceState;
  readonly http: HttpTrafficPolicy | undefined;
  readonly forRequest: boolean;
  phase: 'picked' | 'dialling' | 'connected' | 'closed' = 'picked';
  startedAt = 0;
  /** Began on probation: what becomes of it decides. */
  isProbe = false;

  constructor(
    endpoint: EndpointState,
    context: {
      readonly list: CandidateList;
      readonly service: ServiceState;
      readonly http: HttpTrafficPolicy | undefined;
      readonly forRequest: boolean;
    },
  ) {
    this.endpoint = endpoint;
    this.list = context.list;
    this.service = context.service;
    this.http = context.http;
    this.forRequest = context.forRequest;
  }

  get uid(): WorkloadUid {
    return this.endpoint.uid;
  }
}

/** Others may be tried again. */
function endProbe(dial: Handle): void {
  if (dial.isProbe) dial.endpoint.health.probes--;
  dial.isProbe = false;
}

/** All endpoints may be out at once, and then nobody is asked. */
function opensCircuit({ http, service }: PickRequest): boolean {
  return http?.httpOutlierDetection !== undefined && ejectionPolicy(service, http).maxEjectionPercent === 100;
}

function mayEject(dial: Handle, now: number): boolean {
  const { maxEjectionPercent } = ejectionPolicy(dial.service.service, dial.http);
  const leaveNone = dial.http?.httpOutlierDetection !== undefined;
  const { states } = currentList(dial);
  let ejected = 0;
  for (const { health } of states) if (health.isEjected(now)) ejected++;
  return ejectionAllowed(states.length, ejected, { maxEjectionPercent, leaveNone });
}

function ejectionPolicy(service: Service, http: HttpTrafficPolicy | undefined): OutlierDetection {
  return http?.ejection ?? service.trafficPolicy?.outlierDetection ?? defaultOutlierDetection;
}

/** The endpoints as they are now: some may have gone since the pick. */
function currentList({ service, list }: Handle): CandidateList {
  return service.lists.includes(list) ? list : (service.lists.at(-1) ?? list);
}

function connectionLimit({ open, service }: ServiceState): PickResult {
  return none(
    'connection-limit',
    `Service "${service.hostname}" has ${open} open connections from this node, as many as traffic policy "${service.trafficPolicy?.key}" allows`,
  );
}

function noCandidates({ service, servicePort }: PickRequest, { endpoints }: ServiceState): PickResult {
  if (!service.ports.some((port) => port.servicePort === servicePort)) {
    return none('no-such-port', `Service "${service.hostname}" has no port ${servicePort}`);
  }
  return none(
    'no-endpoints',
    endpoints.length === 0
      ? `Service "${service.hostname}" has no endpoints`
      : `None of ${endpoints.length} endpoints of service "${service.hostname}" can take port ${servicePort}: unhealthy, of capacity 0, elsewhere, or without that port`,
  );
}

function none(reason: Exclude<PickResult, { kind: 'endpoint' }>['reason'], message: string): PickResult {
  return { kind: 'none', reason, message };
}
