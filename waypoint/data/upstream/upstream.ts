// What every request to endpoints needs of its worker, in one place: who is picked, by which connection, within which
// limits. Wires balancer, pools and limits together and follows the model; decides nothing itself.

import type { Balancer, EndpointTarget, PickResult } from '../../../mesh/balance/balancer.ts';
import type { Reactor } from '../../../mesh/io/reactor.ts';
import type { IpAddress } from '../../../mesh/model/ip-address.ts';
import type { Service } from '../../../mesh/model/service.ts';
import { formatSpiffeId, identityOf, type SpiffeId } from '../../../mesh/model/spiffe-id.ts';
import type { HttpTrafficPolicy } from '../../../mesh/model/traffic-policy.ts';
import type { Workload, WorkloadUid } from '../../../mesh/model/workload.ts';
import { chooseAddress, type HostnameRequests } from '../../../mesh/proxy/hostname-requests.ts';
import type { Timer } from '../../../mesh/runtime/clock.ts';
import type { Snapshot } from '../../../mesh/state/snapshot.ts';
import type { RequestLimits } from '../../resilience/request-limits.ts';
import type { DeadlineQueues } from '../deadline-queues.ts';
import type { EndpointAddress } from './endpoint-address.ts';
import type { UpstreamPools } from './upstream-pools.ts';

/** One endpoint as it is reached for one service. */
export interface UpstreamEndpoint {
  readonly workload: Workload;
  readonly place: EndpointAddress;
}

export interface ServiceTarget {
  readonly service: Service;
  readonly port: number;
  /** Address family that was dialled. */
  readonly family: 4 | 6;
  readonly hash: number | undefined;
  readonly preferred: WorkloadUid | undefined;
}

export interface UpstreamOptions {
  readonly reactor: Reactor;
  readonly balancer: Balancer;
  readonly pools: UpstreamPools;
  readonly limits: RequestLimits;
  readonly deadlines: DeadlineQueues;
  readonly hostnames: HostnameRequests;
  readonly random: () => number;
  readonly snapshot: () => Snapshot;
  /** The waypoint's own workload, whose place counts for locality. */
  readonly self: () => Workload;
}

export class Upstream {
  readonly reactor: Reactor;
  readonly balancer: Balancer;
  readonly pools: UpstreamPools;
  readonly limits: RequestLimits;
  readonly deadlines: DeadlineQueues;
  readonly random: () => number;
  #options: UpstreamOptions;
  /** Balancer candidates live as long as their list: so do the endpoints made of them. */
  #endpoints = new WeakMap<EndpointTarget, UpstreamEndpoint>();

  constructor(options: UpstreamOptions) {
    this.#options = options;
    this.reactor = options.reactor;
    this.balancer = options.balancer;
    this.pools = options.pools;
    this.limits = options.limits;
    this.deadlines = options.deadlines;
    this.random = options.random;
  }

  pick(
    target: ServiceTarget,
    settings: HttpTrafficPolicy | undefined,
    {
      unit,
      excluded,
    }: { readonly unit: 'request' | 'connection'; readonly excluded: ReadonlySet<WorkloadUid> },
  ): PickResult {
    const { service, port, family, hash, preferred } = target;
    return this.balancer.pick(this.#options.snapshot(), {
      source: this.#options.self(),
      service,
      servicePort: port,
      family,
      excluded,
      unit,
      ...(settings === undefined ? undefined : { http: settings }),
      ...(hash === undefined ? undefined : { hash }),
      ...(preferred === undefined ? undefined : { preferred }),
    });
  }

  /** Why the endpoint can not be reached from here; undefined if it can. Its address means nothing on another network. */
  unreachable({ name, network }: Workload): string | undefined {
    if (network === this.#options.self().network) return undefined;
    return `endpoint ${name} is on network "${network}", and gateways between networks are not used yet`;
  }

  endpointOf(target: EndpointTarget, service: Service | undefined): UpstreamEndpoint {
    let endpoint = this.#endpoints.get(target);
    if (endpoint === undefined) {
      const { workload, address, port } = target;
      const expected = workload.tunnelProtocol === 'hbone' ? identitiesOf(workload, service) : undefined;
      endpoint = { workload, place: { uid: workload.uid, address: address as IpAddress, port, expected } };
      this.#endpoints.set(target, endpoint);
    }
    return endpoint;
  }

  /** The address of an endpoint that is written as a name; undefined if it has none. Never from inside the call. */
  lookUp(workload: Workload, target: ServiceTarget, done: (address: IpAddress | undefined) => void): Timer {
    if (workload.hostname === '') return this.reactor.after(0, () => done(undefined));
    const { family } = target;
    return this.#options.hostnames.request(workload.hostname, (answer) => {
      const addresses = answer.kind === 'addresses' ? answer.addresses : [];
      done(chooseAddress(addresses, { family, random: this.random }));
    });
  }
}

/** Who may answer in the endpoint's tunnel: the endpoint itself, or who the service names beside it. */
function identitiesOf(workload: Workload, service: Service | undefined): readonly SpiffeId[] {
  return [formatSpiffeId(identityOf(workload)), ...((service?.subjectAltNames ?? []) as readonly SpiffeId[])];
}
