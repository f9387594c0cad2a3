// An authorization policy as the engine evaluates it: rules OR, clauses AND, matches OR, kinds AND, values OR
// (the meaning of istio.security.Authorization, plus AUDIT and rule names).

import type { Cidr } from './ip-address.ts';
import type { PolicyKey } from './workload.ts';

export type StringMatch =
  | { readonly kind: 'exact' | 'prefix' | 'suffix'; readonly value: string }
  | { readonly kind: 'presence' };

export interface ServiceAccountMatch {
  readonly namespace: string;
  readonly serviceAccount: string;
}

/** A kind passes when (positives empty or any hit) and no negative hits. A match with nothing set never matches. */
export interface Match {
  readonly namespaces: readonly StringMatch[];
  readonly notNamespaces: readonly StringMatch[];
  /** Compared with the peer's SPIFFE ID without `spiffe://`. */
  readonly principals: readonly StringMatch[];
  readonly notPrincipals: readonly StringMatch[];
  readonly sourceIps: readonly Cidr[];
  readonly notSourceIps: readonly Cidr[];
  readonly destinationIps: readonly Cidr[];
  readonly notDestinationIps: readonly Cidr[];
  readonly destinationPorts: readonly number[];
  readonly notDestinationPorts: readonly number[];
  readonly serviceAccounts: readonly ServiceAccountMatch[];
  readonly notServiceAccounts: readonly ServiceAccountMatch[];
}

export interface Rule {
  /** Shown in decisions and logs; `''` falls back to the rule's index. */
  readonly name: string;
  readonly clauses: readonly { readonly matches: readonly Match[] }[];
}

export interface AuthorizationPolicy {
  readonly key: PolicyKey;
  readonly name: string;
  readonly namespace: string;
  readonly scope: 'global' | 'namespace' | 'workload';
  readonly action: 'allow' | 'deny' | 'audit';
  /** A dry-run policy never decides; what it would have decided is reported. */
  readonly dryRun: boolean;
  readonly rules: readonly Rule[];
}
