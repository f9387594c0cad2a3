// Reports for tests.

import type { WorkloadUid } from '../model/workload.ts';
import type { NodeFacts, PodCapture } from './node-report.ts';

export function makeNodeFacts(overrides: Partial<NodeFacts> = {}): NodeFacts {
  return {
    instance: 'first',
    version: '1.2.3',
    kernelRelease: '6.1.0',
    startedAt: 1_700_000_000_000,
    workers: 2,
    cgroupRoot: '/sys/fs/cgroup',
    missingFeatures: [],
    cni: { state: 'off', message: '' },
    certificateExpiry: undefined,
    ...overrides,
  };
}

/** A captured pod of namespace `shop`. */
export function makePodCapture(name: string, overrides: Partial<PodCapture> = {}): PodCapture {
  return {
    uid: `Kubernetes//Pod/shop/${name}` as WorkloadUid,
    namespace: 'shop',
    name,
    podUid: `uid-of-${name}`,
    state: 'captured',
    reason: 'Captured',
    message: '',
    since: 1_700_000_000_000,
    earlierConnections: 0,
    ...overrides,
  };
}
