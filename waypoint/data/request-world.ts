// What the handling of requests needs of its worker: the model as it is now, and the parts that remember something from
// one request to the next. One a worker; made and fed by the plane.

import { LiveSet } from '../../mesh/runtime/live-set.ts';
import { Authorizer } from '../../mesh/authz/authorizer.ts';
import type { ConnectionFacts } from '../../mesh/authz/connection.ts';
import type { Decision } from '../../mesh/authz/policy-set.ts';
import type { BufferBudget } from '../../mesh/io/byte-queue.ts';
import type { Reactor } from '../../mesh/io/reactor.ts';
import type { GatewayKey } from '../../mesh/model/routing.ts';
import type { SpiffeId } from '../../mesh/model/spiffe-id.ts';
import type { Workload } from '../../mesh/model/workload.ts';
import type { Clock } from '../../mesh/runtime/clock.ts';
import type { Snapshot } from '../../mesh/state/snapshot.ts';
import type { TokenGate } from '../jwt/token-gate.ts';
import type { RateLimiter } from '../resilience/rate-limiter.ts';
import type { MirrorSampler } from '../routing/mirror-sampler.ts';
import type { DestinationView } from './destination-view.ts';
import type { PlaneReport } from './plane-report.ts';
import type { SideRequest } from './side-request.ts';
import type { Upstream, UpstreamEndpoint } from './upstream/upstream.ts';

export interface RequestWorldOptions {
  readonly reactor: Reactor;
  readonly clock: Clock;
  readonly gateway: GatewayKey;
  readonly report: PlaneReport;
  readonly budget: BufferBudget;
  readonly upstream: Upstream;
  readonly rateLimiter: RateLimiter;
  readonly tokens: TokenGate;
  readonly mirrors: MirrorSampler;
  readonly random: () => number;
  readonly connectTimeoutMs: number;
  /** Of upgraded connections; 0 never. */
  readonly halfClosedTimeoutMs: number;
  readonly snapshot: () => Snapshot;
  readonly identity: () => SpiffeId | undefined;
}

export class RequestWorld {
  readonly reactor: Reactor;
  readonly clock: Clock;
  readonly gateway: GatewayKey;
  readonly report: PlaneReport;
  readonly budget: BufferBudget;
  readonly upstream: Upstream;
  readonly rateLimiter: RateLimiter;
  readonly tokens: TokenGate;
  readonly mirrors: MirrorSampler;
  readonly random: () => number;
  readonly connectTimeoutMs: number;
  readonly halfClosedTimeoutMs: number;
  readonly authorizer = new Authorizer();
  /** Mirrors under way. */
  readonly sideRequests = new LiveSet<SideRequest>();
  readonly #snapshot: () => Snapshot;
  readonly #identity: () => SpiffeId | undefined;

  constructor(options: RequestWorldOptions) {
    this.reactor = options.reactor;
    this.clock = options.clock;
    this.gateway = options.gateway;
    this.report = options.report;
    this.budget = options.budget;
    this.upstream = options.upstream;
    this.rateLimiter = options.rateLimiter;
    this.tokens = options.tokens;
    this.mirrors = options.mirrors;
    this.random = options.random;
    this.connectTimeoutMs = options.connectTimeoutMs;
    this.halfClosedTimeoutMs = options.halfClosedTimeoutMs;
    this.#snapshot = options.snapshot;
    this.#identity = options.identity;
  }

  get snapshot(): Snapshot {
    return this.#snapshot();
  }

  /** Of the waypoint; undefined before its first certificate. */
  get identity(): SpiffeId | undefined {
    return this.#identity();
  }

  /** Monotonic ms. */
  now(): number {
    return this.reactor.now;
  }

  /** By the policies of the destination, before an endpoint is known; `endpoint-decides` leaves it to `authorizeAt`. */
  authorize(view: DestinationView, facts: ConnectionFacts): Decision {
    const { gateway, snapshot } = this;
    const { service } = view;
    const workload = view.workload === undefined ? undefined : asNow(snapshot, view.workload);
    return this.authorizer.authorizeRequest(snapshot, { gateway, service, workload }, facts);
  }

  /** By the policies of one endpoint, at the address and port it has. */
  authorizeAt(
    view: DestinationView,
    facts: ConnectionFacts,
    { workload, place }: UpstreamEndpoint,
  ): Decision {
    const { gateway, snapshot } = this;
    return this.authorizer.authorizeRequest(
      snapshot,
      { gateway, service: view.service, workload: asNow(snapshot, workload) },
      { ...facts, destinationIp: place.address, destinationPort: place.port },
    );
  }

  /** Why what was allowed is denied by the policies as they are now; undefined if it is not. */
  deniedNow(
    view: DestinationView,
    facts: ConnectionFacts,
    endpoint: UpstreamEndpoint | undefined,
  ): string | undefined {
    let decision = this.authorize(view, facts);
    // Where the routes led to another service, its endpoint has policies of its own.
    const elsewhere =
      view.service !== undefined && endpoint?.workload.services.has(view.service.key) === false;
    if (endpoint !== undefined && decision.allowed && (decision.reason === 'endpoint-decides' || elsewhere))
      decision = this.authorizeAt(view, facts, endpoint);
    return decision.allowed ? undefined : denialText(decision);
  }
}

/** A request may outlive the object it found: which policies select a workload is a matter of the newest one. */
function asNow(snapshot: Snapshot, workload: Workload): Workload {
  return snapshot.workloadByUid(workload.uid) ?? workload;
}

/** For the log: which policy said no. */
export function denialText({ reason, policy, rule }: Decision): string {
  if (reason === 'no-allow-matched') return `no ALLOW policy matched, among them ${policy}`;
  return `denied by policy ${policy}${rule === undefined ? '' : ` rule ${rule}`}`;
}
