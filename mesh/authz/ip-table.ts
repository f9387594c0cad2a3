// Values by IP range, and a parsed address to look them up with. Ranges of one length share a Map, so a look-up costs
// one step for each prefix length in use, whatever the number of ranges.

import { type Cidr, type IpAddress, ipBits, ipv4ToUint32, ipv6Groups, isIpv6 } from '../model/ip-address.ts';

/** The first bits of an address: a number for IPv4, eight UTF-16 units for IPv6, so that the two never meet. */
type PrefixKey = number | string;

/** One parse of an address for many look-ups; `load` makes it another address. */
export class ParsedIp {
  #text: IpAddress | undefined;
  #v4 = 0;
  #v6: readonly number[] | undefined;

  load(ip: IpAddress): void {
    if (ip === this.#text) return;
    this.#text = ip;
    this.#v6 = isIpv6(ip) ? ipv6Groups(ip) : undefined;
    this.#v4 = this.#v6 === undefined ? ipv4ToUint32(ip) : 0;
  }

  get bits(): 32 | 128 {
    return this.#v6 === undefined ? 32 : 128;
  }

  prefix(length: number): PrefixKey {
    if (this.#v6 === undefined) return length === 0 ? 0 : (this.#v4 & (-1 << (32 - length))) >>> 0;
    let key = '';
    for (let i = 0; i < 8; i++) {
      const bits = Math.min(16, Math.max(0, length - 16 * i));
      key += String.fromCharCode((this.#v6[i] as number) & (0xffff << (16 - bits)));
    }
    return key;
  }
}

interface Range<V> {
  readonly length: number;
  readonly values: Map<PrefixKey, V>;
}

export class IpTable<V> {
  readonly #ranges: Readonly<Record<32 | 128, Range<V>[]>> = { 32: [], 128: [] };

  get(cidr: Cidr): V | undefined {
    return this.#range(cidr)?.values.get(prefixOf(cidr));
  }

  /** A range with a length that does not fit its family holds nothing and is left out. */
  set(cidr: Cidr, value: V): void {
    const bits = ipBits(cidr.address);
    if (!(cidr.length >= 0 && cidr.length <= bits)) return;
    let range = this.#range(cidr);
    if (range === undefined) {
      range = { length: cidr.length, values: new Map() };
      this.#ranges[bits].push(range);
    }
    range.values.set(prefixOf(cidr), value);
  }

  /** Whether any range holds the address. */
  covers(ip: ParsedIp): boolean {
    for (const range of this.#ranges[ip.bits]) {
      if (range.values.has(ip.prefix(range.length))) return true;
    }
    return false;
  }

  /** Adds the values of all ranges that hold the address to the end of `found`. */
  collect(ip: ParsedIp, found: V[]): void {
    for (const range of this.#ranges[ip.bits]) {
      const value = range.values.get(ip.prefix(range.length));
      if (value !== undefined) found.push(value);
    }
  }

  #range(cidr: Cidr): Range<V> | undefined {
    return this.#ranges[ipBits(cidr.address)].find((range) => range.length === cidr.length);
  }
}

function prefixOf(cidr: Cidr): PrefixKey {
  const ip = new ParsedIp();
  ip.load(cidr.address);
  return ip.prefix(cidr.length);
}
