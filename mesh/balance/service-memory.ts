// What a worker remembers between picks: of endpoints (load, health, responses) by workload uid, of services (open
// connections, lists of candidates, when each endpoint came). Both go when their object goes, a service at the latest
// with its last connection. Lists are built on demand and live until the service or its endpoints change.

import type { ModelDelta } from '../model/model.ts';
import type { Service, ServiceKey } from '../model/service.ts';
import type { Workload, WorkloadUid } from '../model/workload.ts';
import type { Snapshot } from '../state/snapshot.ts';
import { EndpointHealth } from './endpoint-health.ts';
import { buildTiers, type Candidate, type EndpointQuery, type EndpointState } from './endpoint-list.ts';
import { EndpointLoad } from './endpoint-load.ts';
import { comparisonIntervalMs, HttpStatistics } from './http-outliers.ts';
import { dependsOnPlace, samePlace } from './locality.ts';
import type { Tier } from './tier.ts';

export interface ServiceState {
  /** Connections from begin to close. */
  open: number;
  service: Service;
  endpoints: readonly Workload[];
  /** When each endpoint that may be picked came, monotonic ms; -Infinity if it was there when the service was first used. */
  since: ReadonlyMap<WorkloadUid, number>;
  lists: CandidateList[];
  /** When the endpoints' responses are compared next. */
  compareAt: number;
  /** Removed from the mesh; remembered until its last connection closed. */
  gone: boolean;
}

export interface CandidateList {
  readonly query: EndpointQuery;
  readonly tiers: readonly Tier[];
  /** Distinct endpoints in all tiers. */
  readonly states: readonly EndpointState[];
  /** Made when a session first asks for its endpoint. */
  byUid: ReadonlyMap<WorkloadUid, Candidate> | undefined;
}

/** More (port, family, source place) combinations of one service than a node has in use. */
const maxListsPerService = 64;

export class ServiceMemory {
  readonly #now: () => number;
  readonly #endpoints = new Map<WorkloadUid, EndpointState>();
  readonly #services = new Map<ServiceKey, ServiceState>();

  /** @param now monotonic ms */
  constructor(now: () => number) {
    this.#now = now;
  }

  get size(): number {
    return this.#endpoints.size + this.#services.size;
  }

  endpoints(): Iterable<EndpointState> {
    return this.#endpoints.values();
  }

  /** As of the snapshot: lists of what has changed are dropped. */
  stateOf(snapshot: Snapshot, service: Service): ServiceState {
    const endpoints = snapshot.endpointsOf(service.key);
    let state = this.#services.get(service.key);
    if (state === undefined) {
      const since = datesOf(endpoints, () => Number.NEGATIVE_INFINITY);
      const compareAt = this.#now() + comparisonIntervalMs;
      state = { open: 0, service, endpoints, since, lists: [], compareAt, gone: false };
      this.#services.set(service.key, state);
    } else if (state.service !== service || state.endpoints !== endpoints) {
      const [known, now] = [state.since, this.#now()];
      if (state.endpoints !== endpoints) state.since = datesOf(endpoints, (uid) => known.get(uid) ?? now);
      state.service = service;
      state.endpoints = endpoints;
      state.lists = [];
    }
    state.gone = false;
    return state;
  }

  listFor(state: ServiceState, asked: EndpointQuery): CandidateList {
    const known = state.lists.find((list) => sameQuery(list.query, asked));
    if (known !== undefined) return known;
    const { source, service, servicePort, family } = asked;
    const query: EndpointQuery = { source, service, servicePort, family };
    const tiers = buildTiers(state.endpoints, query, {
      stateOf: (uid) => this.#endpointState(uid),
      sinceOf: (uid) => state.since.get(uid) ?? Number.NEGATIVE_INFINITY,
    });
    const states = tiers.flatMap((tier) => tier.candidates.map((candidate) => candidate.state));
    const list: CandidateList = { query, tiers, states, byUid: undefined };
    if (state.lists.length >= maxListsPerService) state.lists.shift();
    state.lists.push(list);
    return list;
  }

  forget(removed: ModelDelta['removed']): void {
    for (const uid of removed.workloads) this.#endpoints.delete(uid);
    for (const key of removed.services) {
      const state = this.#services.get(key);
      if (state === undefined) continue;
      state.gone = true;
      state.lists = [];
      this.connectionClosed(state);
    }
  }

  /** To be told when `open` has fallen. */
  connectionClosed(state: ServiceState): void {
    if (state.gone && state.open === 0) this.#services.delete(state.service.key);
  }

  #endpointState(uid: WorkloadUid): EndpointState {
    let state = this.#endpoints.get(uid);
    if (state === undefined) {
      state = { uid, health: new EndpointHealth(), load: new EndpointLoad(), http: new HttpStatistics() };
      this.#endpoints.set(uid, state);
    }
    return state;
  }
}

/** The candidate of a workload, whatever its tier. */
export function candidateOf(list: CandidateList, uid: WorkloadUid): Candidate | undefined {
  list.byUid ??= new Map(
    list.tiers.flatMap(({ candidates }) =>
      candidates.map((candidate) => [candidate.state.uid, candidate] as const),
    ),
  );
  return list.byUid.get(uid);
}

/** An endpoint that was not healthy comes when it is: only then does it get traffic. */
function datesOf(
  endpoints: readonly Workload[],
  dateOf: (uid: WorkloadUid) => number,
): ReadonlyMap<WorkloadUid, number> {
  const dates = new Map<WorkloadUid, number>();
  for (const { uid, health, capacity } of endpoints) {
    if (health === 'healthy' && capacity > 0) dates.set(uid, dateOf(uid));
  }
  return dates;
}

function sameQuery(known: EndpointQuery, asked: EndpointQuery): boolean {
  if (known.servicePort !== asked.servicePort || known.family !== asked.family) return false;
  if (known.source === asked.source) return true;
  // The network always matters: an endpoint on another one needs a gateway.
  return dependsOnPlace(known.service.loadBalancing)
    ? samePlace(known.source, asked.source)
    : known.source.network === asked.source.network;
}
