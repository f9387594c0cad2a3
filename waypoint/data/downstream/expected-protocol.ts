// What a connection may carry, known before its first byte. Invariant: where anything is in force that only requests can
// be held to, or that an application takes for said by the waypoint, nobody gets past it by saying nothing for a while or
// by octets that only the application takes for HTTP.

import type { DestinationView } from '../destination-view.ts';

/** `http`: it is HTTP or nothing; `tcp`: bytes are passed on as they are; `any`: to be found out by the first bytes. */
export function expectedProtocol(view: DestinationView): 'http' | 'tcp' | 'any' {
  const { appProtocol } = view;
  if (appProtocol === 'tcp' || appProtocol === 'tls') return 'tcp';
  return appProtocol !== 'unknown' || view.http?.hasRules === true || holdsRequests(view) ? 'http' : 'any';
}

/**
 * Tokens: headers of their claims are to come from the waypoint only, as X-Forwarded-Client-Cert where it is sent.
 * Policies need not be asked here: about a connection they count as for unknown requests, which is the stricter way.
 */
function holdsRequests({ tokenRules, forwardClientCert, settings }: DestinationView): boolean {
  if (tokenRules.length > 0 || forwardClientCert) return true;
  if (settings === undefined) return false;
  const { rateLimits, faults, maxHeaderBytes, maxRequestBodyBytes } = settings;
  return (
    (rateLimits?.length ?? 0) + (faults?.length ?? 0) > 0 ||
    (maxHeaderBytes ?? maxRequestBodyBytes) !== undefined
  );
}
