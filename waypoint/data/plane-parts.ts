// Makes the parts of a data worker and joins them; the one place that knows which needs which.

import { Balancer } from '../../mesh/balance/balancer.ts';
import { BufferBudget } from '../../mesh/io/byte-queue.ts';
import type { Reactor } from '../../mesh/io/reactor.ts';
import type { SpiffeId } from '../../mesh/model/spiffe-id.ts';
import { HostnameRequests } from '../../mesh/proxy/hostname-requests.ts';
import { TlsIdentities } from '../../mesh/proxy/tls-identities.ts';
import type { Snapshot } from '../../mesh/state/snapshot.ts';
import { TokenGate } from '../jwt/token-gate.ts';
import { RateLimiter } from '../resilience/rate-limiter.ts';
import { RequestLimits } from '../resilience/request-limits.ts';
import { MirrorSampler } from '../routing/mirror-sampler.ts';
import { DeadlineQueues } from './deadline-queues.ts';
import { DestinationViews } from './destination-view.ts';
import { Downstream } from './downstream/downstream.ts';
import { TunnelAcceptor } from './downstream/tunnel-acceptor.ts';
import { HttpEndpoints } from './http-endpoints.ts';
import type { WaypointPlaneOptions } from './plane-options.ts';
import { RequestWorld } from './request-world.ts';
import { SelfWorkload } from './self-workload.ts';
import { EndpointDialer } from './upstream/endpoint-dialer.ts';
import { Upstream } from './upstream/upstream.ts';
import { UpstreamPools } from './upstream/upstream-pools.ts';

/** What parts ask of the plane. */
export interface PlaneHooks {
  readonly snapshot: () => Snapshot;
  /** Of the waypoint's certificate; undefined before the first one. */
  readonly identity: () => SpiffeId | undefined;
  /** False: no further connection is taken now. */
  readonly hasRoom: () => boolean;
  /** A connection, a tunnel or a request has ended. */
  readonly onEnded: () => void;
}

export interface PlaneParts extends UpstreamParts {
  readonly tokens: TokenGate;
  readonly downstream: Downstream;
  readonly tunnels: TunnelAcceptor;
}

interface UpstreamParts {
  readonly budget: BufferBudget;
  readonly http: HttpEndpoints;
  readonly identities: TlsIdentities;
  readonly balancer: Balancer;
  readonly limits: RequestLimits;
  readonly hostnames: HostnameRequests;
  readonly dialer: EndpointDialer;
  readonly pools: UpstreamPools;
  readonly upstream: Upstream;
}

const defaultHbonePort = 15_008;

export function buildPlaneParts(
  reactor: Reactor,
  options: WaypointPlaneOptions,
  hooks: PlaneHooks,
): PlaneParts {
  const parts = buildUpstream(reactor, options, hooks);
  const { settings, gateway, report, clock, random = Math.random } = options;
  const { budget, http, identities, dialer, upstream } = parts;
  const { snapshot, identity, onEnded } = hooks;
  const tokens = new TokenGate({
    post: options.verifyToken ?? noVerifier,
    now: () => clock.now(),
    after: (delayMs, run) => reactor.after(delayMs, run),
  });
  const world = new RequestWorld({
    reactor,
    clock,
    gateway,
    report,
    budget,
    upstream,
    tokens,
    random,
    snapshot,
    identity,
    rateLimiter: buildRateLimiter(reactor, options),
    mirrors: new MirrorSampler({ random }),
    connectTimeoutMs: settings.connectTimeoutMs,
    halfClosedTimeoutMs: settings.halfClosedTimeoutMs,
  });
  const views = new DestinationViews({ gateway, random, problem: (message) => report.problem(message) });
  const downstream = new Downstream({ ...settings, world, views, dialer, http, budget, onEnded });
  const tunnels = new TunnelAcceptor(reactor, {
    ...settings,
    gateway,
    budget,
    report,
    snapshot,
    tls: () => {
      const spiffeId = identity();
      const own = spiffeId === undefined ? undefined : identities.get(spiffeId);
      return own === undefined ? undefined : { context: own.server, trustDomain: settings.trustDomain };
    },
    admit: hooks.hasRoom,
    take: (client, transport, released) => downstream.take(client, transport, released),
    onTunnelClosed: onEnded,
  });
  return { ...parts, tokens, downstream, tunnels };
}

function buildUpstream(
  reactor: Reactor,
  { settings, random = Math.random, address, lookUp, hbonePort = defaultHbonePort }: WaypointPlaneOptions,
  { snapshot }: PlaneHooks,
): UpstreamParts {
  const budget = new BufferBudget(settings.bufferBudgetBytes);
  const http = new HttpEndpoints(reactor, settings);
  const identities = new TlsIdentities();
  const balancer = new Balancer({ random, now: () => reactor.now, shards: settings.workers });
  const limits = new RequestLimits({ shards: settings.workers });
  const hostnames = new HostnameRequests(lookUp ?? noLookUp);
  const dialer = new EndpointDialer(reactor, { ...settings, identities, budget, hbonePort });
  const pools = new UpstreamPools(reactor, {
    dialer,
    idleTimeoutMs: settings.upstreamIdleTimeoutMs,
    maxConnectionsPerEndpoint: settings.maxConnectionsPerEndpoint,
    makeConnection: (protocol, transport, handler) => http.client(protocol, transport, handler),
  });
  const self = new SelfWorkload(settings.network, address);
  const upstream = new Upstream({
    reactor,
    balancer,
    pools,
    limits,
    hostnames,
    random,
    snapshot,
    deadlines: new DeadlineQueues(reactor),
    self: () => self.in(snapshot()),
  });
  return { budget, http, identities, balancer, limits, hostnames, dialer, pools, upstream };
}

/** Workers that share the limits share the time: the wall's, from where this worker's own goes on. */
function buildRateLimiter(
  reactor: Reactor,
  { clock, settings, limitMemory }: WaypointPlaneOptions,
): RateLimiter {
  const wallOffset = clock.now() - reactor.now;
  const now = (): number => wallOffset + reactor.now;
  return new RateLimiter(
    limitMemory === undefined ? { now, shards: settings.workers } : { now, memory: limitMemory },
  );
}

function noLookUp(): never {
  throw new Error('This data plane was made without a way to look up names');
}

function noVerifier(): never {
  throw new Error('This data plane was made without a way to verify tokens');
}
