// The kinds of Gateway API in a cluster: its own definitions, out of its Go module.

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
