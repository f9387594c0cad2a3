// The kinds the controller reads: their API groups, scope and how each is validated. Kinds that ordinary manifests
// also hold but the mesh has no use for are listed so that they pass without a warning.

import type { z } from 'zod';
import { endpointSliceSchema, metadataOnlySchema, podSchema, serviceSchema } from './core-kinds.ts';
import { gatewayGroup, gatewayKindNames, gatewaySchemas, gatewayVersions } from './gateway-kinds.ts';
import type { KindName } from './resources.ts';

export interface ResourceKind {
  readonly kind: KindName;
  readonly apiVersion: string;
  /** Further versions of the same group that are read alike, best first. */
  readonly otherVersions?: readonly string[];
  readonly namespaced: boolean;
  /** Core kinds: the trimmed subset. Own kinds have none: they are validated against their CRD. */
  readonly schema?: z.ZodType;
}

export const ownApiVersion = 'weft.dev/v1alpha1';

const kinds: readonly ResourceKind[] = [
  { kind: 'Namespace', apiVersion: 'v1', namespaced: false, schema: metadataOnlySchema },
  { kind: 'Node', apiVersion: 'v1', namespaced: false, schema: metadataOnlySchema },
  { kind: 'Pod', apiVersion: 'v1', namespaced: true, schema: podSchema },
  { kind: 'Service', apiVersion: 'v1', namespaced: true, schema: serviceSchema },
  { kind: 'ServiceAccount', apiVersion: 'v1', namespaced: true, schema: metadataOnlySchema },
  { kind: 'EndpointSlice', apiVersion: 'discovery.k8s.io/v1', namespaced: true, schema: endpointSliceSchema },
  { kind: 'AuthorizationPolicy', apiVersion: ownApiVersion, namespaced: true },
  { kind: 'PeerAuthentication', apiVersion: ownApiVersion, namespaced: true },
  { kind: 'RequestAuthentication', apiVersion: ownApiVersion, namespaced: true },
  { kind: 'TrafficPolicy', apiVersion: ownApiVersion, namespaced: true },
  { kind: 'ServiceEntry', apiVersion: ownApiVersion, namespaced: true },
  { kind: 'WorkloadEntry', apiVersion: ownApiVersion, namespaced: true },
  { kind: 'MeshConfig', apiVersion: ownApiVersion, namespaced: false },
  ...gatewayKindNames.map((kind) => ({
    kind,
    apiVersion: `${gatewayGroup}/${gatewayVersions[0]}`,
    otherVersions: gatewayVersions.slice(1),
    namespaced: kind !== 'GatewayClass',
    schema: gatewaySchemas[kind],
  })),
];

export const resourceKinds: ReadonlyMap<string, ResourceKind> = new Map(
  kinds.map((kind) => [kind.kind, kind]),
);

/** `''` for core. */
export function groupOf(apiVersion: string): string {
  const slash = apiVersion.indexOf('/');
  return slash === -1 ? '' : apiVersion.slice(0, slash);
}

/** Every version of a kind's group that is read, best first. */
export function versionsOf({ apiVersion, otherVersions = [] }: ResourceKind): readonly string[] {
  return [apiVersion.slice(apiVersion.indexOf('/') + 1), ...otherVersions];
}

/** Common kinds of manifests the mesh reads nothing from. */
export const ignoredKinds: ReadonlySet<string> = new Set([
  'ClusterRole',
  'ClusterRoleBinding',
  'ConfigMap',
  'CronJob',
  'CustomResourceDefinition',
  'DaemonSet',
  'Deployment',
  'Endpoints',
  'HorizontalPodAutoscaler',
  'Ingress',
  'Job',
  'LimitRange',
  'NetworkPolicy',
  'PersistentVolume',
  'PersistentVolumeClaim',
  'PodDisruptionBudget',
  'ReplicaSet',
  'ResourceQuota',
  'Role',
  'RoleBinding',
  'Secret',
  'StatefulSet',
]);
