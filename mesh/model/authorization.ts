// An authorization policy as the engine evaluates it: rules OR, clauses AND, matches OR, kinds AND, values OR
// (the meaning of istio.security.Authorization, plus AUDIT and rule names).

import type { Cidr } from './ip-address.ts';
import type { RequestTarget } from './request-authentication.ts';
import type { PolicyKey } from './workload.ts';

export type StringMatch =
  | { readonly kind: 'exact' | 'prefix' | 'suffix'; readonly value: string }
  | { readonly kind: 'presence' };

/** `{*}` is one path segment, `{**}` any text and the last operator: `/users/{*}/posts/{**}` (Istio's path templates). */
export type PathMatch = StringMatch | { readonly kind: 'template'; readonly value: string };

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
  /** Facts of a request. Where they are unknown (L4) a DENY or AUDIT takes them for matching, an ALLOW for not matching. */
  readonly http?: HttpMatchConditions;
}

/** Matches every connection. */
export const emptyMatch: Match = {
  namespaces: [],
  notNamespaces: [],
  principals: [],
  notPrincipals: [],
  sourceIps: [],
  notSourceIps: [],
  destinationIps: [],
  notDestinationIps: [],
  destinationPorts: [],
  notDestinationPorts: [],
  serviceAccounts: [],
  notServiceAccounts: [],
};

/** As in Match: kinds AND, values OR, then no negative may hit. Hosts are lower case and without a port. */
export interface HttpMatchConditions {
  readonly hosts: readonly StringMatch[];
  readonly notHosts: readonly StringMatch[];
  /** Upper case. */
  readonly methods: readonly StringMatch[];
  readonly notMethods: readonly StringMatch[];
  /** Without the query, normalised: no dot segments, no repeated slashes, unreserved octets decoded (RFC 3986 section 6.2.2). */
  readonly paths: readonly PathMatch[];
  readonly notPaths: readonly PathMatch[];
  /** `issuer/subject` of a verified token. */
  readonly requestPrincipals: readonly StringMatch[];
  readonly notRequestPrincipals: readonly StringMatch[];
  /** Names in lower case; each entry must hold. */
  readonly headers: readonly NamedCondition[];
  /** Claim paths of a verified token, for example ['realm', 'roles']; each entry must hold. A claim that is a list matches by any member. */
  readonly claims: readonly (Omit<NamedCondition, 'name'> & { readonly path: readonly string[] })[];
}

/** Matches every request. */
export const emptyHttp: HttpMatchConditions = {
  hosts: [],
  notHosts: [],
  methods: [],
  notMethods: [],
  paths: [],
  notPaths: [],
  requestPrincipals: [],
  notRequestPrincipals: [],
  headers: [],
  claims: [],
};

export interface NamedCondition {
  readonly name: string;
  readonly values: readonly StringMatch[];
  readonly notValues: readonly StringMatch[];
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
  /** `target`: attached by targetRefs to what `targets` lists, enforced at waypoints only. */
  readonly scope: 'global' | 'namespace' | 'workload' | 'target';
  /**
   * What targetRefs named. Never empty with scope `target`; with scope `workload` the policy covers, beside the
   * workloads that name it, the requests that a waypoint takes for these targets.
   */
  readonly targets?: readonly RequestTarget[];
  readonly action: 'allow' | 'deny' | 'audit';
  /** A dry-run policy never decides; what it would have decided is reported. */
  readonly dryRun: boolean;
  readonly rules: readonly Rule[];
}
