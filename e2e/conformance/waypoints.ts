// Puts a waypoint in front of every Service of the suite. The suite makes its namespaces itself, or updates those that
// are there, and then gives them the labels it was told to; so both are made before it starts.

import type { Cluster } from '../cluster/cluster.ts';
import { installWaypoint } from '../suites/gateway-api.ts';

export const suiteNamespaces = ['gateway-conformance-mesh', 'gateway-conformance-mesh-consumer'] as const;

const waypoint = 'waypoint';

/** What the namespaces are to be labelled with. */
export const namespaceLabels = { 'weft.dev/mode': 'ambient', 'weft.dev/waypoint': waypoint } as const;

/** Resolves when they are programmed and run. */
export async function createWaypoints(cluster: Cluster): Promise<void> {
  for (const namespace of suiteNamespaces) {
    await cluster.kubectl.apply(JSON.stringify(namespaceObject(namespace)));
    await installWaypoint(cluster, namespace, { name: waypoint });
  }
}

function namespaceObject(name: string): object {
  return { apiVersion: 'v1', kind: 'Namespace', metadata: { name, labels: namespaceLabels } };
}
