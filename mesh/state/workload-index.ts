// Workloads by uid, by address, by name and by the services they are endpoints of. Immutable; `apply` returns the
// next index. Health is not judged here: an unhealthy workload stays in every list and the caller decides.

import type { IpAddress } from '../model/ip-address.ts';
import type { ServiceKey } from '../model/service.ts';
import type { Workload, WorkloadUid } from '../model/workload.ts';
import { Buckets } from './buckets.ts';
import { ShardedMap } from './sharded-map.ts';

export class WorkloadIndex {
  readonly byUid: ShardedMap<WorkloadUid, Workload>;
  readonly #byAddress: Buckets<string, Workload>;
  readonly #byName: Buckets<string, Workload>;
  readonly #byService: Buckets<ServiceKey, Workload>;

  private constructor(
    byUid: ShardedMap<WorkloadUid, Workload>,
    byAddress: Buckets<string, Workload>,
    byName: Buckets<string, Workload>,
    byService: Buckets<ServiceKey, Workload>,
  ) {
    this.byUid = byUid;
    this.#byAddress = byAddress;
    this.#byName = byName;
    this.#byService = byService;
  }

  static empty(): WorkloadIndex {
    return new WorkloadIndex(
      ShardedMap.empty(),
      new Buckets(preferPods),
      new Buckets(preferPods),
      new Buckets(byUidOrder),
    );
  }

  /** All workloads at the address, the preferred one first (WIRE 3.2: pods, then HBONE). */
  atAddress(network: string, ip: IpAddress): readonly Workload[] {
    return this.#byAddress.get(addressKey(network, ip));
  }

  named(namespace: string, name: string, serviceAccount: string): Workload | undefined {
    return this.#byName.get(nameKey(namespace, name, serviceAccount))[0];
  }

  /** Ordered by uid. */
  endpointsOf(service: ServiceKey): readonly Workload[] {
    return this.#byService.get(service);
  }

  /** The values of `stored` replace those with the same uid; uids in `removed` must not be stored too. */
  apply(removed: readonly WorkloadUid[], stored: readonly Workload[]): WorkloadIndex {
    if (removed.length === 0 && stored.length === 0) return this;
    const byUid = this.byUid.edit();
    const byAddress = this.#byAddress.edit();
    const byName = this.#byName.edit();
    const byService = this.#byService.edit();
    const change = (workload: Workload | undefined, how: 'add' | 'remove'): void => {
      if (workload === undefined) return;
      for (const key of addressKeys(workload)) byAddress[how](key, workload);
      byName[how](nameKey(workload.namespace, workload.name, workload.serviceAccount), workload);
      for (const service of workload.services.keys()) byService[how](service, workload);
    };
    for (const uid of removed) {
      change(byUid.get(uid), 'remove');
      byUid.delete(uid);
    }
    for (const workload of stored) {
      change(byUid.get(workload.uid), 'remove');
      change(workload, 'add');
      byUid.set(workload.uid, workload);
    }
    return new WorkloadIndex(byUid.finish(), byAddress.finish(), byName.finish(), byService.finish());
  }
}

/** Key of an address within a network; the default network is `''`. */
export function addressKey(network: string, ip: IpAddress): string {
  return `${network}/${ip}`;
}

function nameKey(namespace: string, name: string, serviceAccount: string): string {
  return `${namespace}/${name}/${serviceAccount}`;
}

/** Host-network workloads share their node's address with everything else there, so it does not tell who they are. */
function addressKeys(workload: Workload): ReadonlySet<string> {
  if (workload.networkMode === 'host-network') return noKeys;
  return new Set(workload.addresses.map((ip) => addressKey(workload.network, ip)));
}

const noKeys: ReadonlySet<string> = new Set();

function preferPods(a: Workload, b: Workload): number {
  return preference(a) - preference(b) || byUidOrder(a, b);
}

function preference(workload: Workload): number {
  if (workload.uid.includes('//Pod/')) return 0;
  return workload.tunnelProtocol === 'hbone' ? 1 : 2;
}

function byUidOrder(a: Workload, b: Workload): number {
  if (a.uid === b.uid) return 0;
  return a.uid < b.uid ? -1 : 1;
}
