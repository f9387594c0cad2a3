// Asks the name servers of this node's resolv.conf for the addresses of a name, with their TTL. Full names only: no
// search list and no hosts file.

import { Resolver } from 'node:dns/promises';
import type { HostnameRecords } from './hostname-lookups.ts';

const tryTimeoutMs = 1_500;
const tries = 2;

interface AddressRecord {
  readonly address: string;
  readonly ttl: number;
}

/**
 * A and AAAA at once; one of both suffices. Rejects with the name servers' reason.
 * @param servers in place of those of resolv.conf, which is read anew each time
 */
export async function resolveBySystem(
  hostname: string,
  signal: AbortSignal,
  servers?: readonly string[],
): Promise<HostnameRecords> {
  const resolver = new Resolver({ timeout: tryTimeoutMs, tries });
  if (servers !== undefined) resolver.setServers(servers);
  const cancel = (): void => resolver.cancel();
  signal.addEventListener('abort', cancel, { once: true });
  try {
    const [v4, v6] = await Promise.allSettled([
      resolver.resolve4(hostname, { ttl: true }),
      resolver.resolve6(hostname, { ttl: true }),
    ]);
    const records: AddressRecord[] = [v4, v6].flatMap((result) =>
      result.status === 'fulfilled' ? result.value : [],
    );
    if (records.length === 0 && v4.status === 'rejected') throw v4.reason;
    return {
      addresses: records.map(({ address }) => address),
      ttlSeconds: Math.min(...records.map(({ ttl }) => ttl)),
    };
  } finally {
    signal.removeEventListener('abort', cancel);
  }
}
