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

interface WaypointOptions {
  /** Default `gate`. */
  readonly name?: string;
  /** Default 1. */
  readonly replicas?: number;
}

/** A waypoint for one namespace, without an autoscaler: the cluster has no metrics server. */
function waypointObjects(namespace: string, { name, replicas }: Required<WaypointOptions>): string {
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
    metadata: { name, namespace, annotations },
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
  { name = 'gate', replicas = 1 }: WaypointOptions = {},
): Promise<void> {
  await kubectl.apply(waypointObjects(namespace, { name, replicas }));
  await kubectl.exists([`deployment/${name}`, '-n', namespace], 30);
  await kubectl.rolledOut(namespace, `deployment/${name}`);
  const programmed = ['wait', '--for=condition=Programmed', `gateway/${name}`];
  await kubectl.ok([...programmed, '-n', namespace, '--timeout=30s']);
}
