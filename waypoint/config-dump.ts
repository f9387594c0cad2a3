// What a waypoint knows, as one JSON object: the keys of the node tunnel's dump where they mean the same, and routes,
// policies of requests and its own Gateway beside them. Built on demand from the snapshot; never holds a private key.

import { certificateDump } from '../mesh/proxy/certificate-dump.ts';
import type { Snapshot } from '../mesh/state/snapshot.ts';
import type { CertificateState } from '../mesh/tls/certificate-manager.ts';
import type { WaypointProgramConfig } from './config.ts';
import type { WorkerLoad } from './worker-load.ts';

export interface DumpParts {
  readonly version: string;
  readonly config: WaypointProgramConfig;
  readonly snapshot: Snapshot;
  readonly certificates: readonly CertificateState[];
  /** Start-up tasks that are not done. */
  readonly pending: readonly string[];
  readonly load: WorkerLoad;
}

export function configDump(parts: DumpParts): object {
  const { snapshot, config, load, pending } = parts;
  const { workloads, services, policies, routings, requestAuthentications, meshConfig } = snapshot.toModel();
  return {
    version: { version: parts.version },
    config,
    waypoint: {
      gateway: config.gateway,
      ...(snapshot.waypoints.get(config.gateway) ?? { unknown: true }),
      ready: pending.length === 0,
      pending,
      load,
    },
    meshConfig,
    certificates: parts.certificates.map(certificateDump),
    routings: [...routings.values()],
    requestAuthentications: [...requestAuthentications.values()],
    workloads: [...workloads.values()].map((workload) => ({
      ...workload,
      services: Object.fromEntries(workload.services),
    })),
    services: [...services.values()],
    policies: [...policies.values()],
  };
}
