// The CONNECT authority of an HBONE stream: `ip:port` with IPv6 in brackets, or `hostname:port` (double HBONE).
// RFC 9113 section 8.5, RFC 3986 section 3.2.

import { type IpAddress, parseHostPort, parseIpAddress } from '../model/ip-address.ts';

export type Authority =
  | { readonly kind: 'address'; readonly address: IpAddress; readonly port: number }
  | { readonly kind: 'hostname'; readonly hostname: string; readonly port: number };

/** A hostname and a port; anything longer is refused unread. */
const maxAuthorityLength = 253 + 6;

/** undefined when there is no port, the port is 0, or the text is no authority. */
export function parseAuthority(text: string): Authority | undefined {
  if (text.length > maxAuthorityLength) return undefined;
  const parsed = parseHostPort(text);
  if (parsed === undefined) return undefined;
  const address = parseIpAddress(parsed.host);
  if (address !== undefined) return { kind: 'address', address, port: parsed.port };
  return { kind: 'hostname', hostname: parsed.host.toLowerCase(), port: parsed.port };
}
