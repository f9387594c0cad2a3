// SPIFFE identities of the form spiffe://<trust domain>/ns/<namespace>/sa/<service account>.
// Only this file knows the form; everywhere else an identity is the three values or the branded URI.

import type { Brand } from './brand.ts';

/** The full URI. */
export type SpiffeId = Brand<string, 'SpiffeId'>;

export interface Identity {
  readonly trustDomain: string;
  readonly namespace: string;
  readonly serviceAccount: string;
}

export const spiffeScheme = 'spiffe://';

export function formatSpiffeId(identity: Identity): SpiffeId {
  return (spiffeScheme + formatPrincipal(identity)) as SpiffeId;
}

/** The SPIFFE ID without its scheme: what `principals` of a policy are compared with (WIRE 5). */
export function formatPrincipal(identity: Identity): string {
  return `${identity.trustDomain}/ns/${identity.namespace}/sa/${identity.serviceAccount}`;
}

/**
 * Parses a full URI: the literal scheme and exactly five slash parts with `ns` and `sa` in place (WIRE 1.2).
 * Stricter than the Istio ztunnel in one point: no part may be empty, since an empty trust domain, namespace or
 * service account names nobody (SPIFFE-ID section 2.1 and 2.2).
 */
export function parseSpiffeId(text: string): Identity | undefined {
  if (!text.startsWith(spiffeScheme) || text.length > 2048) return undefined;
  const parts = text.slice(spiffeScheme.length).split('/');
  if (parts.length !== 5 || parts[1] !== 'ns' || parts[3] !== 'sa') return undefined;
  const [trustDomain, , namespace, , serviceAccount] = parts;
  if (!trustDomain || !namespace || !serviceAccount) return undefined;
  return { trustDomain, namespace, serviceAccount };
}

/** The identity of anything that carries the three values: a workload, a pod. */
export function identityOf(workload: Identity): Identity {
  const { trustDomain, namespace, serviceAccount } = workload;
  return { trustDomain, namespace, serviceAccount };
}

export function sameIdentity(a: Identity, b: Identity): boolean {
  return (
    a.serviceAccount === b.serviceAccount && a.namespace === b.namespace && a.trustDomain === b.trustDomain
  );
}
