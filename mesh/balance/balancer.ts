// Which endpoint a connection goes to. Pure: no I/O, time and randomness are given; one balancer a data worker.
// Owns what is remembered of endpoints (load, health) by workload uid and of services (open connections); both go when
// their object goes. Invariant: an endpoint that is excluded, unhealthy, of capacity 0 or not a candidate by locality
// is never picked; an ejected one only if every other candidate is excluded or ejected too.

import type { ModelDelta } from '../model/model.ts';
import type { Service, ServiceKey } from '../model/service.ts';
import {
  defaultOutlierDetection,
  type HttpTrafficPolicy,
  type TrafficPolicy,
} from '../model/traffic-policy.ts';
import type { Workload, WorkloadUid } from '../model/workload.ts';
import type { Snapshot } from '../state/snapshot.ts';
import { EndpointHealth, ejectionAllowed } from './endpoint-health.ts';
import {
  buildTiers,
  type Candidate,
  type EndpointQuery,
  type EndpointState,
  type EndpointTarget,
  type Tier,
} from './endpoint-list.ts';
import { EndpointLoad } from './endpoint-load.ts';
import { dependsOnPlace, samePlace } from './locality.ts';

export type { EndpointTarget } from './endpoint-list.ts';

export interface PickRequest extends EndpointQuery {
  /** Endpoints this connection already tried. */
  readonly excluded: ReadonlySet<WorkloadUid>;
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

interface ServiceState {
  /** Connections from begin to close. */
  open: number;
  service: Service;
  endpoints: readonly Workload[];
  lists: CandidateList[];
  /** Removed from the mesh; remembered until its last connection closed. */
  gone: boolean;
}

interface CandidateList {
  readonly query: EndpointQuery;
  readonly tiers: readonly Tier[];
  /** Distinct endpoints in all tiers. */
  readonly states: readonly EndpointState[];
  /** Next index in plain round robin. */
  cursor: number;
}

/** More (port, family, source place) combinations of one service than a node has in use. */
const maxListsPerService = 64;
/** Random draws before the exact scan; with half of the endpoints ejected 8 fail once in 256 picks. */
const maxDraws = 8;
/** Costs this close are equal: then the number of open connections decides. */
const costTolerance = 1.25;
/** Up to this many endpoints least-connections looks at all of them, above at two. */
const fullScanEndpoints = 64;

export class Balancer {
  readonly #random: () => number;
  readonly #now: () => number;
  readonly #shards: number;
  readonly #endpoints = new Map<WorkloadUid, EndpointState>();
  readonly #services = new Map<ServiceKey, ServiceState>();

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
  }

  /** Endpoints and services remembered. */
  get size(): number {
    return this.#endpoints.size + this.#services.size;
  }

  pick(snapshot: Snapshot, request: PickRequest): PickResult {
    const { service } = request;
    const state = this.#serviceState(snapshot, service);
    const limit = service.trafficPolicy?.maxConnections;
    if (limit !== undefined && state.open >= Math.max(1, Math.floor(limit / this.#shards))) {
      return none(
        'connection-limit',
        `Service "${service.hostname}" has ${state.open} open connections from this node, as many as traffic policy "${service.trafficPolicy?.key}" allows`,
      );
    }
    const list = this.#listFor(state, request);
    if (list.tiers.length === 0) return noCandidates(request, state);
    const now = this.#now();
    const candidate =
      this.#pickFromTiers(list, request, eligible(now, request.excluded)) ??
      this.#pickFromTiers(list, request, (other) => !request.excluded.has(other.state.uid));
    if (candidate === undefined) {
      return none(
        'all-excluded',
        `All ${list.states.length} endpoints of service "${service.hostname}" port ${request.servicePort} were tried`,
      );
    }
    return { kind: 'endpoint', endpoint: candidate, handle: new Handle(candidate.state, list, state) };
  }

  /** The dial starts: it counts as pending and open from here. */
  begin(handle: PickHandle): void {
    const dial = handle as Handle;
    if (dial.phase !== 'picked') return;
    dial.phase = 'dialling';
    dial.startedAt = this.#now();
    dial.endpoint.load.pending++;
    dial.endpoint.load.open++;
    dial.service.open++;
  }

  /**
   * @param durationMs from dial to an open stream or connection
   * @param options.setUp the duration holds the set-up of a tunnel that others will share
   */
  connected(handle: PickHandle, durationMs: number, _options?: { readonly setUp?: boolean }): void {
    const dial = handle as Handle;
    if (dial.phase !== 'dialling') return;
    dial.phase = 'connected';
    const now = this.#now();
    dial.endpoint.load.pending--;
    dial.endpoint.load.observe(durationMs, now);
    dial.endpoint.health.succeeded(now);
  }

  /**
   * The dial failed, which also closes the handle; or, after `connected`, the tunnel under it broke: `closed` is then
   * still to come. Returns true if this failure ejected the endpoint.
   */
  failed(handle: PickHandle, kind: DialFailure): boolean {
    const dial = handle as Handle;
    if (dial.phase === 'closed') return false;
    const now = this.#now();
    const blames = kind === 'connect' || kind === 'tunnel';
    if (dial.phase === 'dialling') {
      dial.endpoint.load.pending--;
      if (blames) dial.endpoint.load.observeFailure(now - dial.startedAt, now);
      this.#release(dial);
    }
    return blames && this.#punish(dial, now);
  }

  /**
   * An endpoint answered a request, or did not: `status` 0 for a reset or a broken connection before the response, 504
   * for a try that timed out. Returns true if this ejected the endpoint.
   * @param outcome.latencyMs from sending the request to the response's head, or to the failure
   */
  responded(_handle: PickHandle, _outcome: { readonly status: number; readonly latencyMs: number }): boolean {
    return false;
  }

  /** The connection ended, whatever its phase; idempotent. */
  closed(handle: PickHandle): void {
    const dial = handle as Handle;
    if (dial.phase === 'dialling') dial.endpoint.load.pending--;
    if (dial.phase === 'dialling' || dial.phase === 'connected') this.#release(dial);
    dial.phase = 'closed';
  }

  /** Forgets what is gone. A StoreListener: `store.subscribe((snapshot, delta) => balancer.onChange(snapshot, delta))`. */
  onChange(_snapshot: Snapshot, delta: { readonly removed: ModelDelta['removed'] }): void {
    for (const uid of delta.removed.workloads) this.#endpoints.delete(uid);
    for (const key of delta.removed.services) {
      const state = this.#services.get(key);
      if (state === undefined) continue;
      state.gone = true;
      state.lists = [];
      if (state.open === 0) this.#services.delete(key);
    }
  }

  /** For dumps: uid and health of endpoints that are not plainly healthy. */
  ejections(): { readonly uid: WorkloadUid; readonly state: 'ejected' | 'probation' }[] {
    const now = this.#now();
    const out: { uid: WorkloadUid; state: 'ejected' | 'probation' }[] = [];
    for (const { uid, health } of this.#endpoints.values()) {
      if (health.isEjected(now)) out.push({ uid, state: 'ejected' });
      else if (health.isOnProbation(now)) out.push({ uid, state: 'probation' });
    }
    return out;
  }

  #release(dial: Handle): void {
    dial.phase = 'closed';
    dial.endpoint.load.open--;
    const { service } = dial;
    service.open--;
    if (service.gone && service.open === 0) this.#services.delete(service.service.key);
  }

  #punish(dial: Handle, now: number): boolean {
    const { service, endpoint } = dial;
    const policy = service.service.trafficPolicy?.outlierDetection ?? defaultOutlierDetection;
    return endpoint.health.failed(now, policy, () => {
      // The endpoints as they are now: some may have gone since the pick.
      const list = service.lists.includes(dial.list) ? dial.list : (service.lists.at(-1) ?? dial.list);
      const ejected = list.states.filter(({ health }) => health.isEjected(now)).length;
      return ejectionAllowed(list.states.length, ejected, policy);
    });
  }

  #serviceState(snapshot: Snapshot, service: Service): ServiceState {
    const endpoints = snapshot.endpointsOf(service.key);
    let state = this.#services.get(service.key);
    if (state === undefined) {
      state = { open: 0, service, endpoints, lists: [], gone: false };
      this.#services.set(service.key, state);
    } else if (state.service !== service || state.endpoints !== endpoints) {
      state.service = service;
      state.endpoints = endpoints;
      state.lists = [];
    }
    state.gone = false;
    return state;
  }

  #listFor(state: ServiceState, request: PickRequest): CandidateList {
    const known = state.lists.find((list) => sameQuery(list.query, request));
    if (known !== undefined) return known;
    const { source, service, servicePort, family } = request;
    const query: EndpointQuery = { source, service, servicePort, family };
    const tiers = buildTiers(state.endpoints, query, (uid) => this.#endpointState(uid));
    const states = tiers.flatMap((tier) => tier.candidates.map((candidate) => candidate.state));
    const list: CandidateList = { query, tiers, states, cursor: 0 };
    if (state.lists.length >= maxListsPerService) state.lists.shift();
    state.lists.push(list);
    return list;
  }

  #endpointState(uid: WorkloadUid): EndpointState {
    let state = this.#endpoints.get(uid);
    if (state === undefined) {
      state = { uid, health: new EndpointHealth(), load: new EndpointLoad() };
      this.#endpoints.set(uid, state);
    }
    return state;
  }

  #pickFromTiers(list: CandidateList, request: PickRequest, admits: Admits): Candidate | undefined {
    const algorithm = request.service.trafficPolicy?.balancing ?? 'peak-ewma';
    for (const tier of list.tiers) {
      const candidate = this.#pickFrom(tier, list, algorithm, admits);
      if (candidate !== undefined) return candidate;
    }
    return undefined;
  }

  #pickFrom(
    tier: Tier,
    list: CandidateList,
    algorithm: NonNullable<TrafficPolicy['balancing']>,
    admits: Admits,
  ): Candidate | undefined {
    switch (algorithm) {
      case 'weighted-random':
        return this.#draw(tier, admits);
      case 'round-robin':
        return tier.cumulative === undefined
          ? nextInTurn(tier, list, admits)
          : smoothWeightedRoundRobin(tier, admits);
      case 'least-connections':
        if (tier.candidates.length <= fullScanEndpoints) {
          return leastConnections(tier, Math.floor(this.#random() * tier.candidates.length), admits);
        }
        return this.#betterOfTwo(tier, admits, fewerConnections);
      case 'peak-ewma': {
        const now = this.#now();
        return this.#betterOfTwo(tier, admits, (a, b) => cheaper(a, b, now));
      }
    }
  }

  /** Power of two choices: the better of two candidates drawn by weight; the first where neither is better. */
  #betterOfTwo(
    tier: Tier,
    admits: Admits,
    isBetter: (a: Candidate, b: Candidate) => boolean,
  ): Candidate | undefined {
    const first = this.#draw(tier, admits);
    if (first === undefined || tier.candidates.length === 1) return first;
    const second = this.#draw(tier, (candidate) => candidate !== first && admits(candidate));
    return second !== undefined && isBetter(second, first) ? second : first;
  }

  /** One admitted candidate with a chance in proportion to its weight. */
  #draw(tier: Tier, admits: Admits): Candidate | undefined {
    for (let i = 0; i < maxDraws; i++) {
      const candidate = candidateAt(tier, this.#random());
      if (admits(candidate)) return candidate;
    }
    let total = 0;
    for (const candidate of tier.candidates) if (admits(candidate)) total += candidate.weight;
    let point = this.#random() * total;
    let last: Candidate | undefined;
    for (const candidate of tier.candidates) {
      if (!admits(candidate)) continue;
      last = candidate;
      point -= candidate.weight;
      if (point < 0) break;
    }
    return last;
  }
}

type Admits = (candidate: Candidate) => boolean;

class Handle implements PickHandle {
  readonly endpoint: EndpointState;
  readonly list: CandidateList;
  readonly service: ServiceState;
  phase: 'picked' | 'dialling' | 'connected' | 'closed' = 'picked';
  startedAt = 0;

  constructor(endpoint: EndpointState, list: CandidateList, service: ServiceState) {
    this.endpoint = endpoint;
    this.list = list;
    this.service = service;
  }

  get uid(): WorkloadUid {
    return this.endpoint.uid;
  }
}

/** Not tried yet, not ejected, and on probation only one dial at a time. */
function eligible(now: number, excluded: ReadonlySet<WorkloadUid>): Admits {
  return ({ state }) =>
    !excluded.has(state.uid) &&
    !state.health.isEjected(now) &&
    !(state.load.pending > 0 && state.health.isOnProbation(now));
}

/** @param unit in [0, 1) */
function candidateAt(tier: Tier, unit: number): Candidate {
  const { candidates, cumulative } = tier;
  if (cumulative === undefined) return candidates[Math.floor(unit * candidates.length)] as Candidate;
  const point = unit * tier.totalWeight;
  let low = 0;
  let high = candidates.length - 1;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((cumulative[middle] as number) > point) high = middle;
    else low = middle + 1;
  }
  return candidates[low] as Candidate;
}

function nextInTurn(tier: Tier, list: CandidateList, admits: Admits): Candidate | undefined {
  const { length } = tier.candidates;
  for (let i = 0; i < length; i++) {
    const candidate = tier.candidates[(list.cursor + i) % length] as Candidate;
    if (!admits(candidate)) continue;
    list.cursor = (list.cursor + i + 1) % length;
    return candidate;
  }
  return undefined;
}

/** Each turn gives every candidate its weight; the richest is picked and pays for all (the nginx algorithm). */
function smoothWeightedRoundRobin(tier: Tier, admits: Admits): Candidate | undefined {
  const { candidates, credit } = tier;
  let best = -1;
  let total = 0;
  for (let i = 0; i < candidates.length; i++) {
    const candidate = candidates[i] as Candidate;
    if (!admits(candidate)) continue;
    total += candidate.weight;
    credit[i] = (credit[i] as number) + candidate.weight;
    if (best < 0 || (credit[i] as number) > (credit[best] as number)) best = i;
  }
  if (best < 0) return undefined;
  credit[best] = (credit[best] as number) - total;
  return candidates[best];
}

/** @param start index that wins among equals, random so that several nodes do not agree on one. */
function leastConnections(tier: Tier, start: number, admits: Admits): Candidate | undefined {
  const { candidates } = tier;
  let best: Candidate | undefined;
  for (let i = 0; i < candidates.length; i++) {
    const candidate = candidates[(start + i) % candidates.length] as Candidate;
    if (admits(candidate) && (best === undefined || fewerConnections(candidate, best))) best = candidate;
  }
  return best;
}

function fewerConnections(a: Candidate, b: Candidate): boolean {
  return a.state.load.open * b.weight < b.state.load.open * a.weight;
}

function cheaper(a: Candidate, b: Candidate, now: number): boolean {
  const costA = a.state.load.cost(now, a.weight);
  const costB = b.state.load.cost(now, b.weight);
  if (costA * costTolerance < costB) return true;
  if (costB * costTolerance < costA) return false;
  return fewerConnections(a, b);
}

function sameQuery(known: EndpointQuery, asked: EndpointQuery): boolean {
  if (known.servicePort !== asked.servicePort || known.family !== asked.family) return false;
  if (known.source === asked.source) return true;
  // The network always matters: an endpoint on another one needs a gateway.
  return dependsOnPlace(known.service.loadBalancing)
    ? samePlace(known.source, asked.source)
    : known.source.network === asked.source.network;
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
