// Whole model values from the few fields a test cares about. For tests only.

import type { AuthorizationPolicy } from './authorization.ts';
import { type IpAddress, parseIpAddress } from './ip-address.ts';
import { policyKey, serviceKey } from './key.ts';
import { type NodePod, podReference } from './node-pod.ts';
import type { Service, VirtualAddress } from './service.ts';
import type { Workload, WorkloadUid } from './workload.ts';

export function ip(text: string): IpAddress {
  const address = parseIpAddress(text);
  if (address === undefined) throw new Error(`Not an address: ${text}`);
  return address;
}

export function makeWorkload(uid: string, fields: Partial<Workload> = {}): Workload {
  return {
    uid: uid as WorkloadUid,
    name: 'web',
    namespace: 'shop',
    network: '',
    addresses: [],
    hostname: '',
    trustDomain: 'cluster.local',
    serviceAccount: 'default',
    tunnelProtocol: 'hbone',
    node: 'node-1',
    canonicalName: 'web',
    canonicalRevision: 'latest',
    workloadType: 'pod',
    workloadName: 'web',
    clusterId: 'Kubernetes',
    health: 'healthy',
    networkMode: 'standard',
    capacity: 1,
    locality: { region: '', zone: '', subzone: '' },
    services: new Map(),
    authorizationPolicies: [],
    ...fields,
  };
}

/** Enrolled, not started: of `web` in `shop` on node-1, with the Kubernetes UID `uid-UID`. */
export function makeNodePod(uid: string, fields: Partial<NodePod> = {}): NodePod {
  return {
    uid: uid as WorkloadUid,
    name: 'web',
    namespace: 'shop',
    serviceAccount: 'default',
    trustDomain: 'cluster.local',
    node: 'node-1',
    addresses: [],
    netns: podReference(`uid-${uid}`),
    enrolled: true,
    ...fields,
  };
}

export function makeService(namespace: string, hostname: string, fields: Partial<Service> = {}): Service {
  return {
    key: serviceKey(namespace, hostname),
    name: hostname,
    namespace,
    hostname,
    addresses: [],
    ports: [],
    subjectAltNames: [],
    weightedWaypoints: [],
    loadBalancing: { mode: 'unspecified', routingPreference: [], healthPolicy: 'only-healthy' },
    ipFamilies: 'automatic',
    canonical: false,
    visibility: 'public',
    ...fields,
  };
}

export function makePolicy(
  namespace: string,
  name: string,
  fields: Partial<AuthorizationPolicy> = {},
): AuthorizationPolicy {
  const key = policyKey(namespace, name);
  return { key, name, namespace, scope: 'namespace', action: 'allow', dryRun: false, rules: [], ...fields };
}

export function vip(
  address: string,
  length = address.includes(':') ? 128 : 32,
  network = '',
): VirtualAddress {
  return { network, address: ip(address), length };
}
