// What the data workers of a waypoint carry at one moment, and the sum of several.

import type { WorkloadUid } from '../mesh/model/workload.ts';

/** What a worker carries now. */
export interface WorkerLoad {
  /** Of clients: tunnels, connections in them, plain ones. */
  readonly connections: number;
  readonly requests: number;
  /** To endpoints, used or not. */
  readonly upstreamConnections: number;
  readonly upstreamTunnels: number;
  /** Endpoints that get no requests, or only a probe, because of their failures. */
  readonly ejections: readonly { readonly uid: WorkloadUid; readonly state: 'ejected' | 'probation' }[];
}

export const noLoad: WorkerLoad = {
  connections: 0,
  requests: 0,
  upstreamConnections: 0,
  upstreamTunnels: 0,
  ejections: [],
};

/** An endpoint that one worker has ejected and another has not counts as ejected. */
export function addLoads(loads: readonly WorkerLoad[]): WorkerLoad {
  let sum = noLoad;
  const ejections = new Map<WorkloadUid, 'ejected' | 'probation'>();
  for (const load of loads) {
    for (const { uid, state } of load.ejections) {
      if (ejections.get(uid) !== 'ejected') ejections.set(uid, state);
    }
    sum = {
      connections: sum.connections + load.connections,
      requests: sum.requests + load.requests,
      upstreamConnections: sum.upstreamConnections + load.upstreamConnections,
      upstreamTunnels: sum.upstreamTunnels + load.upstreamTunnels,
      ejections: [],
    };
  }
  return { ...sum, ejections: [...ejections].map(([uid, state]) => ({ uid, state })) };
}
