// Asks the policies of a destination about a connection or a request. Compiles each candidate list once: the snapshot
// hands out the same array as long as its policies are the same, so a compiled set lives exactly as long as its list.

import type { AuthorizationPolicy } from '../model/authorization.ts';
import type { GatewayKey } from '../model/routing.ts';
import type { Service, ServiceKey } from '../model/service.ts';
import type { Workload } from '../model/workload.ts';
import type { RequestScope } from '../state/policy-index.ts';
import type { ConnectionFacts } from './connection.ts';
import { type Decision, PolicySet } from './policy-set.ts';

type Candidates = readonly AuthorizationPolicy[];

/** What is needed of a snapshot of the store. */
export interface PolicySource {
  policiesFor(workload: Workload): Candidates;
}

/** What a waypoint needs of it. */
export interface RequestPolicySource {
  policiesForRequest(scope: RequestScope): Candidates;
  endpointsOf(service: ServiceKey): readonly Workload[];
}

/** Not refused so far: the endpoint that is chosen has policies of its own. */
const endpointDecides: Decision = Object.freeze({
  allowed: true,
  reason: 'endpoint-decides',
  audits: Object.freeze([]),
});

interface Shared {
  readonly gateway: GatewayKey;
  /** Candidates of every endpoint of a service alike; undefined if they differ. */
  readonly candidates: Candidates | undefined;
}

export class Authorizer {
  readonly #sets = new WeakMap<Candidates, PolicySet>();
  readonly #shared = new WeakMap<RequestPolicySource, Map<ServiceKey, Shared>>();

  /** `workload` is the destination. A destination that is not known has no policies to ask: refuse before this. */
  authorize(snapshot: PolicySource, workload: Workload, facts: ConnectionFacts): Decision {
    return this.#setOf(snapshot.policiesFor(workload)).decide(facts);
  }

  /**
   * Decides about a request at a waypoint, or about a connection if `facts.http` is undefined.
   *
   * Ask first, before anything is answered or routed, with the service and without a workload; `destinationPort` is
   * then the service port's target port (0 if it is a named one). The answer is final, save for `endpoint-decides`: the
   * endpoints have different policies, or rules speak of an endpoint's own address. Then, and whenever routing led to
   * another service than the addressed one, ask again with the chosen endpoint as the workload, its address and port,
   * before anything is sent to it.
   */
  authorizeRequest(snapshot: RequestPolicySource, scope: RequestScope, facts: ConnectionFacts): Decision {
    const { service, workload } = scope;
    if (workload !== undefined || service === undefined || snapshot.endpointsOf(service.key).length === 0)
      return this.#setOf(snapshot.policiesForRequest(scope)).decide(facts);
    const shared = this.#sharedCandidates(snapshot, service, scope.gateway);
    const set = this.#setOf(shared ?? snapshot.policiesForRequest(scope));
    if (set.asksForAddress || (set.asksForPort && facts.destinationPort === 0)) return endpointDecides;
    const decision = set.decide(facts);
    // What a DENY policy of the service or its namespace refuses, no endpoint's policy admits again.
    return shared !== undefined || decision.reason === 'denied-by' ? decision : endpointDecides;
  }

  #setOf(policies: Candidates): PolicySet {
    let set = this.#sets.get(policies);
    if (set === undefined) {
      set = new PolicySet(policies);
      this.#sets.set(policies, set);
    }
    return set;
  }

  #sharedCandidates(
    snapshot: RequestPolicySource,
    service: Service,
    gateway: GatewayKey,
  ): Candidates | undefined {
    let services = this.#shared.get(snapshot);
    if (services === undefined) {
      services = new Map();
      this.#shared.set(snapshot, services);
    }
    let shared = services.get(service.key);
    if (shared === undefined || shared.gateway !== gateway) {
      shared = { gateway, candidates: findShared(snapshot, service, gateway) };
      services.set(service.key, shared);
    }
    return shared.candidates;
  }
}

function findShared(
  snapshot: RequestPolicySource,
  service: Service,
  gateway: GatewayKey,
): Candidates | undefined {
  let found: Candidates | undefined;
  for (const workload of snapshot.endpointsOf(service.key)) {
    const candidates = snapshot.policiesForRequest({ gateway, service, workload });
    found ??= candidates;
    if (candidates !== found) return undefined;
  }
  return found;
}
