// IP addresses as canonical text: dotted quad for IPv4 (IPv4-mapped IPv6 included), RFC 5952 for IPv6.
// One spelling for each address, so that text equality is address equality and a Map key is enough.

import type { Brand } from './brand.ts';

export type IpAddress = Brand<string, 'IpAddress'>;

export interface Cidr {
  readonly address: IpAddress;
  /** Prefix length in bits, 0 to 32 or 0 to 128. */
  readonly length: number;
}
