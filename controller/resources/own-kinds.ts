// The objects of group weft.dev/v1alpha1 as TypeScript sees them after validation against manifests/crds and after
// its defaults were applied. The CRDs are the source of truth; these are their shapes, field for field.

import type { ObjectMeta } from './object-meta.ts';

type List = readonly string[];

interface WorkloadSelector {
  readonly matchLabels?: Readonly<Record<string, string>>;
}

export interface TargetRef {
  readonly group: string;
  readonly kind: string;
  readonly name: string;
}

export interface AuthorizationSource {
  readonly principals?: List;
  readonly notPrincipals?: List;
  readonly namespaces?: List;
  readonly notNamespaces?: List;
  readonly ipBlocks?: List;
  readonly notIpBlocks?: List;
  readonly serviceAccounts?: List;
  readonly notServiceAccounts?: List;
  readonly requestPrincipals?: List;
  readonly notRequestPrincipals?: List;
}

export interface AuthorizationOperation {
  readonly ports?: readonly (number | string)[];
  readonly notPorts?: readonly (number | string)[];
  readonly hosts?: List;
  readonly notHosts?: List;
  readonly methods?: List;
  readonly notMethods?: List;
  readonly paths?: List;
  readonly notPaths?: List;
}

export interface AuthorizationCondition {
  /** An attribute, or one with a name in it: `request.headers[NAME]`, `request.auth.claims[NAME][NAME]`. */
  readonly key: string;
  readonly values?: List;
  readonly notValues?: List;
}

export interface AuthorizationRule {
  readonly name?: string;
  readonly from?: readonly { readonly source: AuthorizationSource }[];
  readonly to?: readonly { readonly operation: AuthorizationOperation }[];
  readonly when?: readonly AuthorizationCondition[];
}

export interface AuthorizationPolicyObject {
  readonly metadata: ObjectMeta;
  readonly spec: {
    readonly selector?: WorkloadSelector;
    readonly targetRefs?: readonly TargetRef[];
    readonly action: 'ALLOW' | 'DENY' | 'AUDIT';
    readonly dryRun: boolean;
    readonly rules?: readonly AuthorizationRule[];
  };
}

export interface JwtRuleSpec {
  readonly issuer: string;
  readonly audiences?: List;
  readonly jwksUri?: string;
  readonly jwks?: string;
  readonly fromHeaders?: readonly { readonly name: string; readonly prefix: string }[];
  readonly fromParams?: List;
  readonly fromCookies?: List;
  readonly forwardOriginalToken: boolean;
  readonly outputPayloadToHeader?: string;
  readonly outputClaimToHeaders?: readonly { readonly header: string; readonly claim: string }[];
}

export interface RequestAuthenticationObject {
  readonly metadata: ObjectMeta;
  readonly spec: {
    readonly selector?: WorkloadSelector;
    readonly targetRefs?: readonly TargetRef[];
    readonly jwtRules?: readonly JwtRuleSpec[];
  };
}

export type PeerMode = 'STRICT' | 'PERMISSIVE' | 'UNSET';

export interface PeerAuthenticationObject {
  readonly metadata: ObjectMeta;
  readonly spec: {
    readonly selector?: WorkloadSelector;
    readonly mtls: { readonly mode: PeerMode };
    readonly portLevelMtls?: Readonly<Record<string, { readonly mode: PeerMode }>>;
  };
}

export interface RequestConditionSpec {
  readonly pathPrefix?: string;
  readonly methods?: List;
  readonly headers?: readonly { readonly name: string; readonly value: string }[];
}

export interface RateLimitSpec {
  readonly per: 'All' | 'Identity' | 'Namespace' | 'SourceIP' | 'Header';
  readonly header?: string;
  readonly requests: number;
  readonly interval: string;
  readonly burst?: number;
  readonly when?: RequestConditionSpec;
}

export interface FaultSpec {
  readonly delay?: { readonly duration: string; readonly percent: number };
  readonly abort?: { readonly status: number; readonly grpcStatus?: number; readonly percent: number };
  readonly when?: RequestConditionSpec;
}

export interface TrafficPolicyObject {
  readonly metadata: ObjectMeta;
  readonly spec: {
    readonly targetRefs: readonly TargetRef[];
    readonly connectTimeout?: string;
    readonly idleTimeout?: string;
    readonly maxConnections?: number;
    readonly dialAttempts?: number;
    readonly balancing?:
      | 'PeakEWMA'
      | 'LeastConnections'
      | 'LeastRequest'
      | 'RoundRobin'
      | 'WeightedRandom'
      | 'Random'
      | 'RingHash'
      | 'Maglev';
    readonly hashOn?: {
      readonly kind: 'Header' | 'Cookie' | 'Source';
      readonly name?: string;
      readonly ttl?: string;
    };
    readonly slowStart?: string;
    readonly maxRequests?: number;
    readonly maxPendingRequests?: number;
    readonly maxRequestsPerConnection?: number;
    readonly maxRequestBodyBytes?: number;
    readonly maxHeaderBytes?: number;
    readonly requestTimeout?: string;
    readonly perTryTimeout?: string;
    readonly retry?: {
      readonly attempts: number;
      readonly codes: readonly number[];
      readonly backoff: string;
      readonly unsafe: boolean;
    };
    readonly retryBudget?: { readonly percent: number; readonly minPerSecond: number };
    readonly hedging?: { readonly delay: string; readonly maxAttempts: number };
    readonly rateLimits?: readonly RateLimitSpec[];
    readonly faults?: readonly FaultSpec[];
    readonly locality?: {
      readonly mode: 'Failover' | 'Strict';
      readonly scopes: readonly ('Region' | 'Zone' | 'Subzone' | 'Node' | 'Cluster' | 'Network')[];
    };
    readonly outlierDetection?: {
      readonly consecutiveFailures: number;
      readonly baseEjection: string;
      readonly maxEjection: string;
      readonly maxEjectionPercent: number;
      readonly consecutive5xx: number;
      readonly consecutiveGatewayErrors: number;
      readonly successRateDeviations: number;
      readonly latencyFactor: number;
    };
  };
}

/** What WorkloadEntry and the endpoints of a ServiceEntry share. */
export interface EndpointSpec {
  readonly address: string;
  readonly ports?: Readonly<Record<string, number>>;
  readonly labels?: Readonly<Record<string, string>>;
  readonly serviceAccount?: string;
  readonly locality?: string;
  readonly weight: number;
  readonly network?: string;
}

export interface WorkloadEntryObject {
  readonly metadata: ObjectMeta;
  readonly spec: EndpointSpec;
}

export interface ServiceEntryPort {
  readonly number: number;
  readonly name?: string;
  readonly protocol: 'TCP' | 'TLS' | 'HTTP' | 'HTTP2' | 'HTTPS' | 'GRPC';
  readonly targetPort?: number;
}

export interface ServiceEntryObject {
  readonly metadata: ObjectMeta;
  readonly spec: {
    readonly hosts: List;
    readonly addresses?: List;
    readonly ports: readonly ServiceEntryPort[];
    readonly location: 'MESH_EXTERNAL' | 'MESH_INTERNAL';
    readonly resolution: 'NONE' | 'STATIC' | 'DNS';
    readonly endpoints?: readonly EndpointSpec[];
    readonly workloadSelector?: { readonly labels: Readonly<Record<string, string>> };
    readonly subjectAltNames?: List;
    readonly exportTo?: readonly ('*' | '.')[];
  };
}

export interface MeshConfigObject {
  readonly metadata: ObjectMeta;
  readonly spec: {
    readonly trustDomain?: string;
    readonly mtls: { readonly mode: 'STRICT' | 'PERMISSIVE' };
    readonly unknownDestinations: 'ALLOW' | 'DENY';
    readonly accessLog: 'ALL' | 'FAILURES' | 'OFF';
    readonly sameNode: 'KERNEL' | 'PROXY';
    readonly tracing?: { readonly endpoint: string; readonly samplingPercent: number };
  };
}
