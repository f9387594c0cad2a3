// Which TLSRoute rule takes a connection: the first in list order whose hostnames cover the server name (SNI). The
// connection itself stays encrypted; nothing here reads it.

import type { RouteSet } from '../../mesh/model/routing.ts';

/**
 * `serverName` is what the ClientHello said, undefined if nothing; only a rule without hostnames takes that one. A
 * hostname `*.example.com` covers any number of labels, but not `example.com` (Gateway API, Hostname).
 */
export function matchTlsRule(
  rules: RouteSet['tls'],
  serverName: string | undefined,
): RouteSet['tls'][number] | undefined {
  const name = serverName?.toLowerCase().replace(/\.$/, '');
  return rules.find(
    ({ hostnames }) =>
      hostnames.length === 0 || (name !== undefined && hostnames.some((known) => covers(known, name))),
  );
}

function covers(hostname: string, name: string): boolean {
  const lower = hostname.toLowerCase();
  if (!lower.startsWith('*.')) return lower === name;
  return name.length >= lower.length && name.endsWith(lower.slice(1));
}
