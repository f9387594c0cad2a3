// Puts a waypoint in front of every Service of the suite. The suite makes its namespaces itself, or updates those that
// are there, and then gives them the labels it was told to; so both are made before it starts.

import type { Cluster } from '../cluster/cluster.ts';

export const suiteNamespaces = ['gateway-conformance-mesh', 'gateway-conformance-mesh-consumer'] as const;

const waypoint = 'waypoint';

/** What the namespaces are to be labelled with. */
export const namespaceLabels = { 'weft.dev/mode': 'ambient', 'weft.dev/waypoint': waypoint } as const;

const gatewayApi = 'gateway.networking.k8s.io/v1';
const className = 'weft-waypoint';

const gatewayClass = {
  apiVersion: gatewayApi,
  kind: 'GatewayClass',
  metadata: { name: className },
  spec: { controllerName: 'weft.dev/controller' },
};

/** Resolves when they are programmed and run. */
export async function createWaypoints({ kubectl }: Cluster): Promise<void> {
  const items = [gatewayClass, ...suiteNamespaces.flatMap((name) => [namespaceObject(name), gateway(name)])];
  await kubectl.apply(items.map((object) => JSON.stringify(object)).join('\n---\n'));
  for (const namespace of suiteNamespaces) {
    await kubectl.exists([`deployment/${waypoint}`, '-n', namespace], 30);
    await kubectl.rolledOut(namespace, `deployment/${waypoint}`);
    const programmed = ['--for=condition=Programmed', `gateway/${waypoint}`, '-n', namespace];
    await kubectl.ok(['wait', ...programmed, '--timeout=30s']);
  }
}

function namespaceObject(name: string): object {
  return { apiVersion: 'v1', kind: 'Namespace', metadata: { name, labels: namespaceLabels } };
}

/** One replica, so that no autoscaler is made: the cluster has no metrics server. */
function gateway(namespace: string): object {
  const annotations = { 'weft.dev/min-replicas': '1', 'weft.dev/max-replicas': '1' };
  return {
    apiVersion: gatewayApi,
    kind: 'Gateway',
    metadata: { name: waypoint, namespace, annotations },
    spec: {
      gatewayClassName: className,
      listeners: [{ name: 'mesh', port: 15008, protocol: 'HBONE' }],
    },
  };
}
