// The nameservers of a resolv.conf (resolv.conf(5)); nothing else of it concerns the proxy, because search lists and
// options are applied by the client.

import { readFileSync } from 'node:fs';
import { type IpAddress, parseIpAddress } from '../mesh/model/ip-address.ts';

/** As the C library: it looks at the first three only. */
const maxNameservers = 3;

/** Lines that are no nameserver, and addresses with a zone, are left out. */
export function parseNameservers(text: string): readonly IpAddress[] {
  const addresses: IpAddress[] = [];
  for (const line of text.split('\n')) {
    const [keyword, value] = line.trim().split(/\s+/);
    if (keyword !== 'nameserver' || value === undefined) continue;
    const address = parseIpAddress(value);
    if (address !== undefined && !addresses.includes(address)) addresses.push(address);
    if (addresses.length === maxNameservers) break;
  }
  return addresses;
}

/**
 * Nameservers of a named network namespace: `/etc/netns/<name>/resolv.conf` (ip-netns(8)), else the machine's own.
 * Empty if neither can be read.
 */
export function nameserversOf(netnsPath: string, options?: { readonly etc?: string }): readonly IpAddress[] {
  const etc = options?.etc ?? '/etc';
  const name = netnsPath.slice(netnsPath.lastIndexOf('/') + 1);
  for (const path of [`${etc}/netns/${name}/resolv.conf`, `${etc}/resolv.conf`]) {
    try {
      return parseNameservers(readFileSync(path, 'utf8'));
    } catch {
      // The next one.
    }
  }
  return [];
}
