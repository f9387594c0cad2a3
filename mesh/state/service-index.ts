// Services by key, by virtual address (single addresses and CIDR ranges) and by hostname, and the choice among
// several that claim the same. Immutable; `apply` returns the next index. Endpoints are the workload index's.

import { type IpAddress, ipBits, isIpv6, networkAddress } from '../model/ip-address.ts';
import type { Service, ServiceKey, VirtualAddress } from '../model/service.ts';
import { Buckets } from './buckets.ts';
import { ShardedMap } from './sharded-map.ts';

/** For each network and family the prefix lengths in use (longest first) with the number of services: few. */
type Lengths = ReadonlyMap<string, readonly (readonly [length: number, count: number])[]>;

export class ServiceIndex {
  readonly byKey: ShardedMap<ServiceKey, Service>;
  readonly #byAddress: Buckets<string, Service>;
  readonly #byHostname: Buckets<string, Service>;
  readonly #lengths: Lengths;

  private constructor(
    byKey: ShardedMap<ServiceKey, Service>,
    byAddress: Buckets<string, Service>,
    byHostname: Buckets<string, Service>,
    lengths: Lengths,
  ) {
    this.byKey = byKey;
    this.#byAddress = byAddress;
    this.#byHostname = byHostname;
    this.#lengths = lengths;
  }

  static empty(): ServiceIndex {
    return new ServiceIndex(ShardedMap.empty(), new Buckets(byKeyOrder), new Buckets(byKeyOrder), new Map());
  }

  /** Every service that claims the address: by the address itself, then by ranges, longest prefix first. */
  atAddress(network: string, ip: IpAddress): readonly Service[] {
    const single = this.#atPrefix(network, ip, ipBits(ip));
    const ranges = this.#lengthsOf(network, ip).flatMap(([length]) => this.#atPrefix(network, ip, length));
    return ranges.length === 0 ? single : [...new Set([...single, ...ranges])];
  }

  /**
   * The service a client of the namespace reaches at the address: own namespace before canonical before the first by
   * key. Ranges count only where no single address matches: own namespace, then the longest prefix (WIRE 6.1).
   */
  forAddress(network: string, ip: IpAddress, clientNamespace: string): Service | undefined {
    const single = choose(this.#atPrefix(network, ip, ipBits(ip)), clientNamespace);
    if (single !== undefined) return single;
    let best: Service | undefined;
    for (const [length] of this.#lengthsOf(network, ip)) {
      const chosen = choose(this.#atPrefix(network, ip, length), clientNamespace);
      if (chosen?.namespace === clientNamespace) return chosen;
      best ??= chosen;
    }
    return best;
  }

  /** Case does not count in hostnames. */
  withHostname(hostname: string): readonly Service[] {
    return this.#byHostname.get(hostname.toLowerCase());
  }

  forHostname(hostname: string, clientNamespace: string): Service | undefined {
    return choose(this.withHostname(hostname), clientNamespace);
  }

  /** The values of `stored` replace those with the same key; keys in `removed` must not be stored too. */
  apply(removed: readonly ServiceKey[], stored: readonly Service[]): ServiceIndex {
    if (removed.length === 0 && stored.length === 0) return this;
    const byKey = this.byKey.edit();
    const byAddress = this.#byAddress.edit();
    const byHostname = this.#byHostname.edit();
    const lengths = new LengthsEditor(this.#lengths);
    const change = (service: Service | undefined, how: 'add' | 'remove'): void => {
      if (service === undefined) return;
      for (const [key, vip] of prefixes(service)) {
        byAddress[how](key, service);
        if (vip.length < ipBits(vip.address))
          lengths.count(familyKey(vip), vip.length, how === 'add' ? 1 : -1);
      }
      byHostname[how](service.hostname.toLowerCase(), service);
    };
    for (const key of removed) {
      change(byKey.get(key), 'remove');
      byKey.delete(key);
    }
    for (const service of stored) {
      change(byKey.get(service.key), 'remove');
      change(service, 'add');
      byKey.set(service.key, service);
    }
    return new ServiceIndex(byKey.finish(), byAddress.finish(), byHostname.finish(), lengths.finish());
  }

  #atPrefix(network: string, ip: IpAddress, length: number): readonly Service[] {
    return this.#byAddress.get(prefixKey(network, ip, length));
  }

  #lengthsOf(network: string, ip: IpAddress): readonly (readonly [number, number])[] {
    if (this.#lengths.size === 0) return [];
    return this.#lengths.get(familyKey({ network, address: ip })) ?? [];
  }
}

/** Own namespace, then canonical, then the first; services hidden from the client's namespace do not count. */
function choose(services: readonly Service[], clientNamespace: string): Service | undefined {
  let best: Service | undefined;
  for (const service of services) {
    if (service.namespace === clientNamespace) {
      if (best?.namespace !== clientNamespace || (service.canonical && !best.canonical)) best = service;
    } else if (service.visibility === 'public' && best?.namespace !== clientNamespace) {
      if (best === undefined || (service.canonical && !best.canonical)) best = service;
    }
  }
  return best;
}

class LengthsEditor {
  readonly #before: Lengths;
  readonly #counts = new Map<string, Map<number, number>>();

  constructor(before: Lengths) {
    this.#before = before;
  }

  count(family: string, length: number, by: 1 | -1): void {
    let counts = this.#counts.get(family);
    if (counts === undefined) {
      counts = new Map(this.#before.get(family));
      this.#counts.set(family, counts);
    }
    counts.set(length, (counts.get(length) ?? 0) + by);
  }

  finish(): Lengths {
    if (this.#counts.size === 0) return this.#before;
    const after = new Map(this.#before);
    for (const [family, counts] of this.#counts) {
      const used = [...counts].filter(([, count]) => count > 0).sort(([a], [b]) => b - a);
      if (used.length === 0) after.delete(family);
      else after.set(family, used);
    }
    return after;
  }
}

/** The distinct prefixes of a service by key; one with a length out of range is no address and is left out. */
function prefixes(service: Service): ReadonlyMap<string, VirtualAddress> {
  const valid = service.addresses.filter((vip) => vip.length >= 0 && vip.length <= ipBits(vip.address));
  return new Map(valid.map((vip) => [prefixKey(vip.network, vip.address, vip.length), vip]));
}

function prefixKey(network: string, ip: IpAddress, length: number): string {
  return `${network}/${networkAddress(ip, length)}/${length}`;
}

function familyKey({ network, address }: Pick<VirtualAddress, 'network' | 'address'>): string {
  return `${isIpv6(address) ? 6 : 4}/${network}`;
}

function byKeyOrder(a: Service, b: Service): number {
  if (a.key === b.key) return 0;
  return a.key < b.key ? -1 : 1;
}
