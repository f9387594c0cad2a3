// What `weft check` knows about a cluster when it judges: objects as the API server gave them, as far as a check reads
// them, and the controller's page about its nodes. Gathered by gather-facts.ts; the checks ask nobody.

import type { NodesPage } from '../../mesh/node-report/nodes-page.ts';

export interface Meta {
  readonly name: string;
  readonly namespace?: string;
  readonly labels?: Readonly<Record<string, string>>;
}

export interface Condition {
  readonly type: string;
  readonly status: string;
  readonly reason?: string;
  readonly message?: string;
}

export interface ContainerState {
  readonly name: string;
  readonly ready?: boolean;
  readonly restartCount?: number;
  readonly state?: {
    readonly waiting?: { readonly reason?: string; readonly message?: string };
    readonly terminated?: { readonly reason?: string; readonly exitCode?: number };
  };
}

export interface PodFact {
  readonly metadata: Meta;
  readonly spec: {
    readonly nodeName?: string;
    readonly hostNetwork?: boolean;
    readonly containers: readonly {
      readonly args?: readonly string[];
      readonly ports?: readonly {
        readonly name?: string;
        readonly containerPort: number;
        readonly protocol?: string;
      }[];
    }[];
  };
  readonly status?: {
    readonly phase?: string;
    readonly podIPs?: readonly { readonly ip: string }[];
    readonly conditions?: readonly Condition[];
    readonly containerStatuses?: readonly ContainerState[];
  };
}

export interface NodeFact {
  readonly metadata: Meta;
  readonly status?: { readonly conditions?: readonly Condition[] };
}

export interface NamespaceFact {
  readonly metadata: Meta;
}

/** A Deployment or DaemonSet. */
export interface WorkloadFact {
  readonly metadata: Meta & { readonly generation?: number };
  readonly spec: {
    readonly replicas?: number;
    readonly template: {
      readonly spec: {
        readonly containers: readonly { readonly image?: string; readonly args?: readonly string[] }[];
      };
    };
  };
  readonly status?: {
    readonly observedGeneration?: number;
    readonly availableReplicas?: number;
    readonly updatedReplicas?: number;
    readonly desiredNumberScheduled?: number;
    readonly updatedNumberScheduled?: number;
    readonly numberReady?: number;
  };
}

export interface DefinitionFact {
  readonly metadata: Meta;
  readonly spec: Readonly<Record<string, unknown>>;
  readonly status?: { readonly conditions?: readonly Condition[] };
}

export interface GatewayFact {
  readonly metadata: Meta;
  readonly spec: { readonly gatewayClassName: string };
  readonly status?: { readonly conditions?: readonly Condition[] };
}

export interface LabelSelector {
  readonly matchLabels?: Readonly<Record<string, string>>;
  readonly matchExpressions?: readonly {
    readonly key: string;
    readonly operator: string;
    readonly values?: readonly string[];
  }[];
}

export interface PolicyPort {
  /** Absent: TCP. */
  readonly protocol?: string;
  /** A number, or the name of a container's port. Absent: every port of the protocol. */
  readonly port?: number | string;
  readonly endPort?: number;
}

export interface PolicyPeer {
  readonly podSelector?: LabelSelector;
  readonly namespaceSelector?: LabelSelector;
  readonly ipBlock?: { readonly cidr: string; readonly except?: readonly string[] };
}

export interface NetworkPolicyFact {
  readonly metadata: Meta;
  readonly spec: {
    readonly podSelector?: LabelSelector;
    readonly policyTypes?: readonly string[];
    readonly ingress?: readonly {
      readonly ports?: readonly PolicyPort[];
      readonly from?: readonly PolicyPeer[];
    }[];
    readonly egress?: readonly {
      readonly ports?: readonly PolicyPort[];
      readonly to?: readonly PolicyPeer[];
    }[];
  };
}

export interface FelixFact {
  readonly spec: { readonly bpfEnabled?: boolean; readonly bpfConnectTimeLoadBalancing?: string };
}

/** What could not be asked, or was refused. */
export interface Unreadable {
  /** For people: `list pods`. */
  readonly right: string;
  /** False: the API server failed in another way than by refusing. */
  readonly isForbidden: boolean;
  readonly message: string;
}

export interface ClusterFacts {
  /** ms since the epoch, by this machine's clock. */
  readonly now: number;
  /** Of the mesh. */
  readonly namespace: string;
  /** Of this command. */
  readonly version: string;
  /** Of the API server, with scheme and port. */
  readonly server: string;
  /** Of Kubernetes; undefined if it did not tell. */
  readonly serverVersion: string | undefined;
  readonly unreadable: readonly Unreadable[];
  /** Our definitions as this version has them, by name. */
  readonly wantedDefinitions: ReadonlyMap<string, DefinitionFact>;
  /** Undefined in this and the lists below: it could not be read, and `unreadable` says why. */
  readonly definitions: readonly DefinitionFact[] | undefined;
  readonly nodes: readonly NodeFact[] | undefined;
  readonly namespaces: readonly NamespaceFact[] | undefined;
  readonly pods: readonly PodFact[] | undefined;
  readonly networkPolicies: readonly NetworkPolicyFact[] | undefined;
  /** None where Gateway API is not installed. */
  readonly gateways: readonly GatewayFact[] | undefined;
  /** `weft-controller`; undefined: there is none, or it could not be read. */
  readonly controller: WorkloadFact | undefined;
  /** `weft-ztunnel`; undefined as above. */
  readonly tunnels: WorkloadFact | undefined;
  /** PEM of what the mesh trusts (ConfigMap `weft-roots`); undefined as above. */
  readonly roots: string | undefined;
  /** Of ConfigMap `cilium-config`; undefined as above. */
  readonly ciliumConfig: Readonly<Record<string, string>> | undefined;
  /** FelixConfiguration `default` of Calico; undefined as above. */
  readonly felix: FelixFact | undefined;
  /** The page of the controller that leads, or why there is none. */
  readonly page: NodesPage | { readonly missing: string };
}
