// The plan of a lab network: names, addresses and the `ip` commands that build them. Pure; lab.ts carries it out.
// Two nodes (or more) and one control host hang on one bridge, which has a namespace of its own; pods hang on their
// node. The invariant: no interface is ever made in the machine's own namespace and every default route is
// "unreachable", so nothing a test sends can leave the lab.

export interface Address {
  readonly v4: string;
  readonly v6: string;
}

export interface HostPlan {
  readonly kind: 'node' | 'control' | 'pod';
  readonly name: string;
  /** Name of the network namespace; its path is /run/netns/NAME. */
  readonly namespace: string;
  readonly address: Address;
  /** The node a pod is on; undefined for the others. */
  readonly node?: string;
}

/** What pods may reach besides each other: the ranges of Service addresses (captured before they are routed). */
export const serviceRange: Address = { v4: '10.96.0.0/16', v6: 'fd96::/112' };
export const podRange: Address = { v4: '10.77.0.0/16', v6: 'fd77::/48' };
/** Where resolv.conf of every pod points; only a mesh answers there. */
export const dnsAddress = '10.96.0.10';
const bridgeName = 'link0';

const unreachableDefaults = ['route add unreachable default', 'route add unreachable ::/0'];

/** The address of a node (index from 1) on the link. */
export function nodeAddress(index: number): Address {
  return { v4: `10.78.0.${index}`, v6: `fd78::${index}` };
}

export const controlAddress: Address = { v4: '10.78.0.100', v6: 'fd78::100' };

/** The address of pod `index` (from 1, at most 200) on node `node` (from 1). */
export function podAddress(node: number, index: number): Address {
  return { v4: `10.77.${node}.${10 + index}`, v6: `fd77:0:0:${node}::${10 + index}` };
}

function gateway(node: number): Address {
  return { v4: `10.77.${node}.1`, v6: `fd77:0:0:${node}::1` };
}

/** Commands for the bridge's namespace, before any host. */
export function linkCommands(): string[] {
  return ['link set lo up', `link add ${bridgeName} type bridge`, `link set ${bridgeName} up`];
}

/** Commands for the bridge's namespace that plug a host in. */
export function plugCommands(host: HostPlan): string[] {
  return [
    `link add ${host.name} type veth peer name eth0 netns ${host.namespace}`,
    `link set ${host.name} master ${bridgeName}`,
    `link set ${host.name} up`,
  ];
}

/** Commands inside a node or the control host. */
export function linkHostCommands(host: HostPlan): string[] {
  return [
    'link set lo up',
    `addr add ${host.address.v4}/24 dev eth0`,
    `addr add ${host.address.v6}/64 dev eth0 nodad`,
    'link set eth0 up',
    ...unreachableDefaults,
  ];
}

/** Commands inside a node: the way to the pods of another node. */
export function peerNodeCommands(index: number): string[] {
  const via = nodeAddress(index);
  return [`route add 10.77.${index}.0/24 via ${via.v4}`, `route add fd77:0:0:${index}::/64 via ${via.v6}`];
}

/** Commands inside the node for one of its pods. */
export function podOnNodeCommands(node: number, pod: HostPlan): string[] {
  const port = podInterface(pod.name);
  const { v4, v6 } = gateway(node);
  return [
    `link add ${port} type veth peer name eth0 netns ${pod.namespace}`,
    `addr add ${v4}/32 dev ${port}`,
    `addr add ${v6}/128 dev ${port} nodad`,
    `link set ${port} up`,
    `route add ${pod.address.v4}/32 dev ${port}`,
    `route add ${pod.address.v6}/128 dev ${port}`,
  ];
}

/** Commands inside the pod: its address, and routes to pods and Services by way of the node. */
export function podCommands(node: number, pod: HostPlan): string[] {
  const { v4, v6 } = gateway(node);
  return [
    'link set lo up',
    `addr add ${pod.address.v4}/32 dev eth0`,
    `addr add ${pod.address.v6}/128 dev eth0 nodad`,
    'link set eth0 up',
    `route add ${v4}/32 dev eth0 scope link src ${pod.address.v4}`,
    `route add ${v6}/128 dev eth0 src ${pod.address.v6}`,
    ...[podRange.v4, serviceRange.v4].map((range) => `route add ${range} via ${v4} src ${pod.address.v4}`),
    ...[podRange.v6, serviceRange.v6].map((range) => `route add ${range} via ${v6} src ${pod.address.v6}`),
    ...unreachableDefaults,
  ];
}

/** Commands inside the control host: the way back to the pods of a node. */
export function controlToPodsCommands(node: number): string[] {
  return peerNodeCommands(node);
}

/** Commands inside a pod that may reach the control host, by way of its node. */
export function podToControlCommands(node: number, pod: HostPlan): string[] {
  const { v4, v6 } = gateway(node);
  return [
    `route add ${controlAddress.v4}/32 via ${v4} src ${pod.address.v4}`,
    `route add ${controlAddress.v6}/128 via ${v6} src ${pod.address.v6}`,
  ];
}

/** Interface names hold 15 characters; pod names of a lab differ within the first 13. */
function podInterface(pod: string): string {
  return `p-${pod}`.slice(0, 15);
}

/** /etc/resolv.conf of a pod, as the kubelet writes it. */
export function resolvConf(podNamespace: string, clusterDomain = 'cluster.local'): string {
  const search = [`${podNamespace}.svc.${clusterDomain}`, `svc.${clusterDomain}`, clusterDomain].join(' ');
  return `nameserver ${dnsAddress}\nsearch ${search}\noptions ndots:5 timeout:2 attempts:2\n`;
}
