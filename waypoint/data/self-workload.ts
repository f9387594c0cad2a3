// The waypoint's own workload in the model: where it is decides which endpoints are near.

import type { IpAddress } from '../../mesh/model/ip-address.ts';
import type { Workload, WorkloadUid } from '../../mesh/model/workload.ts';
import type { Snapshot } from '../../mesh/state/snapshot.ts';

export class SelfWorkload {
  readonly #network: string;
  readonly #address: IpAddress | undefined;
  readonly #unplaced: Workload;
  #generation = -1;
  #workload: Workload;

  constructor(network: string, address: IpAddress | undefined) {
    this.#network = network;
    this.#address = address;
    this.#unplaced = { ...unplaced, network };
    this.#workload = this.#unplaced;
  }

  /** One without a place where the waypoint is not known. */
  in(snapshot: Snapshot): Workload {
    if (snapshot.generation === this.#generation || this.#address === undefined) return this.#workload;
    this.#generation = snapshot.generation;
    this.#workload = snapshot.workloadByAddress(this.#network, this.#address) ?? this.#unplaced;
    return this.#workload;
  }
}

/** Where the waypoint is not known: every endpoint is as near as any other. */
const unplaced: Workload = {
  uid: '' as WorkloadUid,
  name: '',
  namespace: '',
  network: '',
  addresses: [],
  hostname: '',
  trustDomain: '',
  serviceAccount: '',
  tunnelProtocol: 'none',
  node: '',
  canonicalName: '',
  canonicalRevision: '',
  workloadType: 'pod',
  workloadName: '',
  clusterId: '',
  health: 'healthy',
  networkMode: 'standard',
  capacity: 1,
  locality: { region: '', zone: '', subzone: '' },
  services: new Map(),
  authorizationPolicies: [],
};
