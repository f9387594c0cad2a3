// What this node knows, as one JSON object with the keys of the Istio ztunnel's `/config_dump` (WIRE 7), so that tools
// made for it work. Built on demand from the snapshot; never holds a private key.

import type { CaptureState, PodCapture } from '../mesh/node-report/node-report.ts';
import { certificateDump } from '../mesh/proxy/certificate-dump.ts';
import type { Snapshot } from '../mesh/state/snapshot.ts';
import type { CertificateState } from '../mesh/tls/certificate-manager.ts';
import type { ConnectionSummary } from './connection-table.ts';
import type { KubeletState } from './kubelet-watch.ts';

export interface DumpParts {
  readonly version: string;
  readonly config: object;
  readonly snapshot: Snapshot;
  readonly certificates: readonly CertificateState[];
  readonly pods: readonly PodCapture[];
  readonly kubelets: readonly KubeletState[];
  readonly kubeletProbes: number;
  readonly connections: readonly ConnectionSummary[];
}

const podStates: Readonly<Record<CaptureState, string>> = {
  pending: 'Pending',
  captured: 'Up',
  failed: 'Failed',
  bypassed: 'Bypassed',
};

export function configDump(parts: DumpParts): object {
  const { workloads, services, policies, meshConfig } = parts.snapshot.toModel();
  return {
    version: { version: parts.version },
    config: parts.config,
    meshConfig,
    certificates: parts.certificates.map(certificateDump),
    workloads: [...workloads.values()].map((workload) => ({
      ...workload,
      services: Object.fromEntries(workload.services),
    })),
    services: [...services.values()],
    policies: [...policies.values()],
    stagedServices: {},
    staticConfig: {},
    workloadState: workloadState(parts),
    kubelets: parts.kubelets,
    kubeletProbes: parts.kubeletProbes,
  };
}

function workloadState({ snapshot, pods, connections }: DumpParts): object {
  const state: Record<string, object> = {};
  for (const { uid, state: podState, reason, message, earlierConnections } of pods) {
    const pod = snapshot.podByUid(uid);
    const name = `${pod?.namespace}/${pod?.name}`;
    const own = connections.filter((connection) => connection.pod === name);
    state[uid] = {
      state: podStates[podState],
      ...(podState === 'captured' ? {} : { reason: message === '' ? reason : message }),
      earlierConnections,
      info: {
        name: pod?.name,
        namespace: pod?.namespace,
        serviceAccount: pod?.serviceAccount,
        netns: pod?.netns,
      },
      connections: {
        inbound: own.filter(({ direction }) => direction === 'inbound'),
        outbound: own.filter(({ direction }) => direction === 'outbound'),
      },
    };
  }
  return state;
}
