// IP addresses as canonical text: dotted quad for IPv4 (IPv4-mapped IPv6 included), RFC 5952 for IPv6.
// One spelling for each address, so that text equality is address equality and a Map key is enough. Every
// IpAddress comes from parseIpAddress or ipFromBytes; zone identifiers have no place here and are refused.

import type { Brand } from './brand.ts';

export type IpAddress = Brand<string, 'IpAddress'>;

export interface Cidr {
  readonly address: IpAddress;
  /** Prefix length in bits, 0 to 32 or 0 to 128. */
  readonly length: number;
}

export interface HostPort {
  /** A canonical address (without brackets) or a hostname as it was written. */
  readonly host: string;
  /** 1 to 65535. */
  readonly port: number;
}

/** Parses an address strictly (no leading zeros, no zone, no surrounding space); undefined if it is none. */
export function parseIpAddress(text: string): IpAddress | undefined {
  if (text.length < 2 || text.length > 45) return undefined;
  if (text.includes(':')) {
    const groups = parseIpv6Groups(text);
    return groups === undefined ? undefined : formatGroups(groups);
  }
  const value = parseIpv4(text);
  return value === undefined ? undefined : (text as IpAddress);
}

/** Formats 4 or 16 bytes in network order; throws RangeError for any other length. */
export function ipFromBytes(bytes: Uint8Array): IpAddress {
  if (bytes.length === 4) return `${bytes[0]}.${bytes[1]}.${bytes[2]}.${bytes[3]}` as IpAddress;
  if (bytes.length !== 16) throw new RangeError(`An IP address has 4 or 16 bytes, got ${bytes.length}`);
  const groups: number[] = new Array(8);
  for (let i = 0; i < 8; i++) groups[i] = ((bytes[2 * i] as number) << 8) | (bytes[2 * i + 1] as number);
  return formatGroups(groups);
}

/** 4 bytes for IPv4, 16 for IPv6, in network order. */
export function ipToBytes(ip: IpAddress): Uint8Array {
  if (!isIpv6(ip)) {
    const value = ipv4ToUint32(ip);
    return Uint8Array.of(value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255);
  }
  const groups = ipv6Groups(ip);
  const bytes = new Uint8Array(16);
  for (let i = 0; i < 8; i++) {
    bytes[2 * i] = (groups[i] as number) >> 8;
    bytes[2 * i + 1] = (groups[i] as number) & 255;
  }
  return bytes;
}

export function isIpv6(ip: IpAddress): boolean {
  return ip.includes(':');
}

/** 127.0.0.0/8 and ::1. */
export function isLoopback(ip: IpAddress): boolean {
  return ip === '::1' || ip.startsWith('127.');
}

/** 32 or 128. */
export function ipBits(ip: IpAddress): 32 | 128 {
  return isIpv6(ip) ? 128 : 32;
}

/** The 32 bits of an IPv4 address as an unsigned number; no check, the text must be canonical IPv4. */
export function ipv4ToUint32(ip: IpAddress): number {
  let value = 0;
  let octet = 0;
  for (let i = 0; i < ip.length; i++) {
    const code = ip.charCodeAt(i);
    if (code === 46) {
      value = (value << 8) | octet;
      octet = 0;
    } else octet = octet * 10 + code - 48;
  }
  return ((value << 8) | octet) >>> 0;
}

/** The eight 16-bit groups of a canonical IPv6 address. */
export function ipv6Groups(ip: IpAddress): readonly number[] {
  const groups = parseIpv6Groups(ip);
  if (groups === undefined) throw new RangeError(`Not an IPv6 address: "${ip}"`);
  return groups;
}

/**
 * Parses `address/length`; a bare address is a full-length prefix. Host bits are cleared, so that equal ranges are
 * equal text. A prefix of IPv4-mapped addresses (length 96 and more) becomes the IPv4 range; a shorter one is refused.
 */
export function parseCidr(text: string): Cidr | undefined {
  const slash = text.indexOf('/');
  const written = slash < 0 ? text : text.slice(0, slash);
  const address = parseIpAddress(written);
  if (address === undefined) return undefined;
  const mapped = written.includes(':') && !isIpv6(address);
  const length = slash < 0 ? (mapped ? 128 : ipBits(address)) : parseDecimal(text.slice(slash + 1), 128);
  if (length === undefined) return undefined;
  return makeCidr(address, mapped ? length - 96 : length);
}

/** The range with host bits cleared; undefined if the length does not fit the family. */
export function makeCidr(address: IpAddress, length: number): Cidr | undefined {
  if (!Number.isInteger(length) || length < 0 || length > ipBits(address)) return undefined;
  return { address: networkAddress(address, length), length };
}

/** From the wire: 4 or 16 address bytes and a length; undefined if either is out of range (WIRE 3.4: a bad CIDR). */
export function cidrFromBytes(bytes: Uint8Array, length: number): Cidr | undefined {
  if (bytes.length !== 4 && bytes.length !== 16) return undefined;
  const address = ipFromBytes(bytes);
  return makeCidr(address, bytes.length === 16 && !isIpv6(address) ? length - 96 : length);
}

/** The address with all but the first `length` bits cleared: the key of its range among ranges of that length. */
export function networkAddress(ip: IpAddress, length: number): IpAddress {
  const bits = ipBits(ip);
  if (length >= bits) return ip;
  if (bits === 32) return ipv4FromUint32(length <= 0 ? 0 : ipv4ToUint32(ip) & (-1 << (32 - length)));
  // Not formatGroups: a masked ::ffff:0:0/90 must stay an IPv6 range.
  return formatIpv6(ipv6Groups(ip).map((group, i) => group & groupMask(length - 16 * i)));
}

/** Whether the range holds the address; never across families. */
export function cidrContains(cidr: Cidr, ip: IpAddress): boolean {
  if (isIpv6(cidr.address) !== isIpv6(ip)) return false;
  if (cidr.length === 0) return true;
  if (!isIpv6(ip)) {
    return (ipv4ToUint32(cidr.address) ^ ipv4ToUint32(ip)) >>> (32 - cidr.length) === 0;
  }
  return networkAddress(cidr.address, cidr.length) === networkAddress(ip, cidr.length);
}

/** `1.2.3.4:80` or `[::1]:80`. */
export function formatHostPort(ip: IpAddress, port: number): string {
  return isIpv6(ip) ? `[${ip}]:${port}` : `${ip}:${port}`;
}

/**
 * Parses `1.2.3.4:80`, `[::1]:80` or `host.name:80`, strictly: port 1 to 65535 without leading zeros, IPv6 only in
 * brackets, and a name that ends in a number must be an IPv4 address. Undefined for everything else.
 */
export function parseHostPort(text: string): HostPort | undefined {
  const colon = text.lastIndexOf(':');
  if (colon < 1 || text.length > 253 + 6) return undefined;
  const port = parseDecimal(text.slice(colon + 1), 65535);
  if (port === undefined || port === 0) return undefined;
  if (text.charCodeAt(0) === 91) {
    if (text.charCodeAt(colon - 1) !== 93) return undefined;
    const inner = text.slice(1, colon - 1);
    const host = inner.includes(':') ? parseIpAddress(inner) : undefined;
    return host === undefined ? undefined : { host, port };
  }
  const host = text.slice(0, colon);
  if (parseIpv4(host) !== undefined) return { host, port };
  return hostname.test(host) && !/(^|\.)\d+\.?$/.test(host) && host.length <= 253
    ? { host, port }
    : undefined;
}

/** Labels as DNS takes them, underscores included; a trailing dot is allowed. */
const hostname =
  /^(?:[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.)*[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.?$/;

/** Digits only, no leading zero, at most `max`. */
function parseDecimal(text: string, max: number): number | undefined {
  if (text.length === 0 || text.length > 5) return undefined;
  let value = 0;
  for (let i = 0; i < text.length; i++) {
    const digit = text.charCodeAt(i) - 48;
    if (digit < 0 || digit > 9) return undefined;
    value = value * 10 + digit;
  }
  if (text.length > 1 && text.charCodeAt(0) === 48) return undefined;
  return value <= max ? value : undefined;
}

function ipv4FromUint32(value: number): IpAddress {
  return `${value >>> 24}.${(value >>> 16) & 255}.${(value >>> 8) & 255}.${value & 255}` as IpAddress;
}

function parseIpv4(text: string): number | undefined {
  let value = 0;
  let octet = -1;
  let octets = 0;
  for (let i = 0; i <= text.length; i++) {
    const code = i === text.length ? 46 : text.charCodeAt(i);
    if (code === 46) {
      if (octet < 0) return undefined;
      value = (value << 8) | octet;
      octets++;
      octet = -1;
    } else if (code >= 48 && code <= 57) {
      // A leading zero could mean octal (inet_aton), so it is no address here.
      if (octet === 0) return undefined;
      octet = (octet < 0 ? 0 : octet * 10) + code - 48;
      if (octet > 255) return undefined;
    } else return undefined;
  }
  return octets === 4 ? value >>> 0 : undefined;
}

/** RFC 4291 section 2.2: hex groups, at most one `::` (one group or more), dotted quad as the last 32 bits. */
function parseIpv6Groups(text: string): number[] | undefined {
  const gap = text.indexOf('::');
  if (gap < 0) {
    const groups = parseGroups(text, true);
    return groups?.length === 8 ? groups : undefined;
  }
  if (text.indexOf('::', gap + 1) >= 0) return undefined;
  const head = gap === 0 ? [] : parseGroups(text.slice(0, gap), false);
  const tail = gap + 2 === text.length ? [] : parseGroups(text.slice(gap + 2), true);
  if (head === undefined || tail === undefined || head.length + tail.length > 7) return undefined;
  return [...head, ...new Array<number>(8 - head.length - tail.length).fill(0), ...tail];
}

function parseGroups(text: string, mayEndInIpv4: boolean): number[] | undefined {
  const groups: number[] = [];
  const parts = text.split(':');
  for (const [i, part] of parts.entries()) {
    if (/^[0-9A-Fa-f]{1,4}$/.test(part)) {
      groups.push(Number.parseInt(part, 16));
      continue;
    }
    const value = mayEndInIpv4 && i === parts.length - 1 ? parseIpv4(part) : undefined;
    if (value === undefined) return undefined;
    groups.push(value >>> 16, value & 0xffff);
  }
  return groups;
}

function groupMask(bits: number): number {
  if (bits >= 16) return 0xffff;
  return bits <= 0 ? 0 : (0xffff << (16 - bits)) & 0xffff;
}

function formatGroups(groups: readonly number[]): IpAddress {
  const mapped = groups[5] === 0xffff && groups.every((group, i) => i >= 5 || group === 0);
  if (!mapped) return formatIpv6(groups);
  return ipv4FromUint32(((groups[6] as number) << 16) | (groups[7] as number));
}

/** RFC 5952 section 4: lower case, no leading zeros, the longest (first if equal) run of two or more zeros as `::`. */
function formatIpv6(groups: readonly number[]): IpAddress {
  let start = -1;
  let length = 1;
  for (let i = 0; i < 8; ) {
    let end = i;
    while (end < 8 && groups[end] === 0) end++;
    if (end - i > length) {
      start = i;
      length = end - i;
    }
    i = end + 1;
  }
  const hex = groups.map((group) => group.toString(16));
  if (start < 0) return hex.join(':') as IpAddress;
  return `${hex.slice(0, start).join(':')}::${hex.slice(start + length).join(':')}` as IpAddress;
}
