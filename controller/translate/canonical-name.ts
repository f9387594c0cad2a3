// What a workload is called in metrics and logs: the names Istio derives (WIRE.md section 3.3 canonical_name,
// workload_name, workload_type), from labels first, then from the owner the pod was made by.

import type { Workload } from '../../mesh/model/workload.ts';
import type { ObjectMeta } from '../resources/object-meta.ts';
import type { Labels } from './selectors.ts';

type WorkloadType = Workload['workloadType'];

export interface WorkloadIdentityNames {
  readonly workloadName: string;
  readonly workloadType: WorkloadType;
  readonly canonicalName: string;
  readonly canonicalRevision: string;
}

export function workloadNames(metadata: ObjectMeta, labels: Labels = metadata.labels): WorkloadIdentityNames {
  const owner = ownerOf(metadata, labels);
  const workloadName = labels['service.istio.io/workload-name'] || owner.name;
  return {
    workloadName,
    workloadType: owner.type,
    canonicalName:
      labels['service.istio.io/canonical-name'] ||
      labels['app.kubernetes.io/name'] ||
      labels['app'] ||
      workloadName,
    canonicalRevision:
      labels['service.istio.io/canonical-revision'] ||
      labels['app.kubernetes.io/version'] ||
      labels['version'] ||
      'latest',
  };
}

function ownerOf(metadata: ObjectMeta, labels: Labels): { name: string; type: WorkloadType } {
  const owner = metadata.ownerReferences.find((reference) => reference.controller === true);
  if (owner === undefined) return { name: metadata.name, type: 'pod' };
  const hash = labels['pod-template-hash'];
  if (owner.kind === 'ReplicaSet' && hash !== undefined && owner.name.endsWith(`-${hash}`)) {
    return { name: owner.name.slice(0, -hash.length - 1), type: 'deployment' };
  }
  if (owner.kind === 'Job') {
    // A CronJob names its Jobs by the scheduled minute since the epoch.
    const cron = /^(.+)-\d{8,10}$/.exec(owner.name);
    return cron === null ? { name: owner.name, type: 'job' } : { name: cron[1] as string, type: 'cronjob' };
  }
  return { name: owner.name, type: 'pod' };
}
