// Addresses for names that have none: a ServiceEntry of DNS names gets one of 240.240.0.0/16 (class E, routed nowhere)
// and one of 2001:2::/64 (RFC 5180, benchmarking), the ranges Istio uses. The address follows from the name, so it
// stays the same over restarts; only names whose hashes meet depend on each other.

import { type IpAddress, parseIpAddress } from '../../mesh/model/ip-address.ts';

const size = 0xffff;

export class VirtualAddressPool {
  readonly #taken = new Set<number>();

  /** Two addresses for `key`, or none when all 65,534 are in use. */
  allocate(key: string): readonly IpAddress[] {
    if (this.#taken.size >= size - 1) return [];
    let slot = (fnv1a(key) % (size - 1)) + 1;
    while (this.#taken.has(slot)) slot = (slot % (size - 1)) + 1;
    this.#taken.add(slot);
    const texts = [`240.240.${slot >> 8}.${slot & 255}`, `2001:2::f0f0:${slot.toString(16)}`];
    return texts.map((text) => parseIpAddress(text) as IpAddress);
  }
}

/** FNV-1a, 32 bits. */
function fnv1a(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) {
    hash ^= text.charCodeAt(i);
    hash = Math.imul(hash, 0x01000193) >>> 0;
  }
  return hash;
}
