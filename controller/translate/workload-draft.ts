// A workload while it is put together: who it is is settled at once, which services and policies it belongs to is
// added by later steps. Only translate's own steps see drafts; finishWorkload() makes the model's value.

import { modelEqual } from '../../mesh/model/diff.ts';
import type {
  GatewayAddress,
  PortMapping,
  PolicyKey,
  WaypointMissing,
  Workload,
} from '../../mesh/model/workload.ts';
import type { ServiceKey } from '../../mesh/model/service.ts';
import type { ObjectMeta } from '../resources/object-meta.ts';
import { compareText } from './precedence.ts';
import type { Labels } from './selectors.ts';

export interface WorkloadDraft {
  readonly metadata: ObjectMeta;
  readonly base: Omit<Workload, 'services' | 'authorizationPolicies' | 'waypoint' | 'waypointMissing'>;
  readonly labels: Labels;
  /** Ports of the workload by name: container ports of a pod, `ports` of a WorkloadEntry. */
  readonly namedPorts: ReadonlyMap<string, number>;
  /** What `namedPorts` is keyed by: the Service's target port name, or the name of the service's port. */
  readonly portNames: 'target' | 'service';
  readonly services: Map<ServiceKey, readonly PortMapping[]>;
  readonly policies: Set<PolicyKey>;
  waypoint?: GatewayAddress;
  waypointMissing?: WaypointMissing;
}

/** The last workload made of each base. Only saves work: what comes out depends on the draft alone. */
const finished = new WeakMap<WorkloadDraft['base'], Workload>();

/** Of an equal draft with the same base the same value comes out, so that a comparison of models ends at once. */
export function finishWorkload(draft: WorkloadDraft): Workload {
  const services = new Map([...draft.services].sort(([a], [b]) => compareText(a, b)));
  const authorizationPolicies = [...draft.policies].sort();
  const last = finished.get(draft.base);
  if (
    last !== undefined &&
    modelEqual(last.services, services) &&
    modelEqual(last.authorizationPolicies, authorizationPolicies) &&
    modelEqual(last.waypoint, draft.waypoint) &&
    last.waypointMissing === draft.waypointMissing
  ) {
    return last;
  }
  const workload: Workload = {
    ...draft.base,
    services,
    authorizationPolicies,
    ...(draft.waypoint === undefined ? {} : { waypoint: draft.waypoint }),
    ...(draft.waypointMissing === undefined ? {} : { waypointMissing: draft.waypointMissing }),
  };
  finished.set(draft.base, workload);
  return workload;
}
