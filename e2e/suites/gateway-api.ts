// The kinds of Gateway API in a cluster: its own definitions, out of its Go module; and the objects that make a waypoint.

import { join } from 'node:path';
import type { Cluster } from '../cluster/cluster.ts';
import { ClusterError } from '../cluster/cluster-error.ts';
import { session } from '../cluster/session.ts';
import { readDefinitions } from '../kubernetes/definitions.ts';

/** Resolves when they are served. Throws ClusterError if this run could not fetch them. */
export async function installGatewayApi({ kubectl }: Cluster): Promise<void> {
  const { gatewayCrds } = session();
  if (gatewayCrds === undefined) {
    throw new ClusterError('unsupported', 'The Go module of Gateway API could not be fetched');
  }
  const definitions = readDefinitions(join(gatewayCrds, 'experimental')).join('\n---\n');
  await kubectl.ok(['apply', '--server-side', '--force-conflicts', '-f', '-'], { input: definitions });
  await kubectl.ok(['wait', '--for=condition=Established', '--timeout=30s', 'crd', '--all']);
}

export const gatewayApi = 'gateway.networking.k8s.io/v1';

/** A waypoint `gate` for one namespace, without an autoscaler: the cluster has no metrics server. */
function waypointObjects(namespace: string, replicas: number): string {
  const gatewayClass = {
    apiVersion: gatewayApi,
    kind: 'GatewayClass',
    metadata: { name: 'weft-waypoint' },
    spec: { controllerName: 'weft.dev/controller' },
  };
  const annotations = { 'weft.dev/min-replicas': `${replicas}`, 'weft.dev/max-replicas': `${replicas}` };
  const gateway = {
    apiVersion: gatewayApi,
    kind: 'Gateway',
    metadata: { name: 'gate', namespace, annotations },
    spec: {
      gatewayClassName: 'weft-waypoint',
      listeners: [{ name: 'mesh', port: 15008, protocol: 'HBONE' }],
    },
  };
  return [gatewayClass, gateway].map((object) => JSON.stringify(object)).join('\n---\n');
}

/** Makes it, and resolves when it serves. */
export async function installWaypoint(
  { kubectl }: Cluster,
  namespace: string,
  { replicas = 1 }: { readonly replicas?: number } = {},
): Promise<void> {
  await kubectl.apply(waypointObjects(namespace, replicas));
  await kubectl.exists(['deployment/gate', '-n', namespace], 20);
  await kubectl.rolledOut(namespace, 'deployment/gate');
  const programmed = ['wait', '--for=condition=Programmed', 'gateway/gate'];
  await kubectl.ok([...programmed, '-n', namespace, '--timeout=20s']);
}
