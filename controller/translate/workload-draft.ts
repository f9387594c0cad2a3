// A workload while it is put together: who it is is settled at once, which services and policies it belongs to is
// added by later steps. Only translate's own steps see drafts; finishWorkload() makes the model's value.

import type { PortMapping, PolicyKey, Workload } from '../../mesh/model/workload.ts';
import type { ServiceKey } from '../../mesh/model/service.ts';
import type { ObjectMeta } from '../resources/object-meta.ts';
import { compareText } from './precedence.ts';
import type { Labels } from './selectors.ts';

export interface WorkloadDraft {
  readonly metadata: ObjectMeta;
  readonly base: Omit<Workload, 'services' | 'authorizationPolicies'>;
  readonly labels: Labels;
  /** Ports of the workload by name: container ports of a pod, `ports` of a WorkloadEntry. */
  readonly namedPorts: ReadonlyMap<string, number>;
  /** What `namedPorts` is keyed by: the Service's target port name, or the name of the service's port. */
  readonly portNames: 'target' | 'service';
  readonly services: Map<ServiceKey, readonly PortMapping[]>;
  readonly policies: Set<PolicyKey>;
}

export function finishWorkload(draft: WorkloadDraft): Workload {
  return {
    ...draft.base,
    services: new Map([...draft.services].sort(([a], [b]) => compareText(a, b))),
    authorizationPolicies: [...draft.policies].sort(),
  };
}
