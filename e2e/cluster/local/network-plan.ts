// The addresses of a local cluster. Pure. They may be fixed: the cluster's network is a namespace of its own with no way
// out, so two runs on one machine never meet, and nothing a test sends can leave.

export interface NodePlan {
  readonly name: string;
  /** From 1. */
  readonly index: number;
  readonly address: string;
  readonly podCidr: string;
  /** Network namespace of the node, as `ip netns` knows it. */
  readonly netns: string;
  /** The end of the node's cable at the bridge. */
  readonly link: string;
}

export const networkPlan = {
  bridge: 'nodes',
  /** The bridge's own address: API server and test programs. */
  hostAddress: '10.203.0.1',
  prefixLength: 24,
  apiServerPort: 16_443,
  etcdPort: 12_379,
  etcdPeerPort: 12_380,
  controllerManagerPort: 16_457,
  schedulerPort: 16_459,
  podCidr: '10.244.0.0/16',
  serviceCidr: '10.96.0.0/16',
  /** The API server's Service: always the first address of the range. */
  kubernetesService: '10.96.0.1',
  dnsService: '10.96.0.10',
  domain: 'cluster.local',
} as const;

export const apiServerUrl = `https://${networkPlan.hostAddress}:${networkPlan.apiServerPort}`;

/** @param index from 1 to 200 */
export function nodePlan(index: number): NodePlan {
  return {
    name: `n${index}`,
    index,
    address: `10.203.0.${10 + index}`,
    podCidr: `10.244.${index}.0/24`,
    netns: `n${index}`,
    link: `node${index}`,
  };
}

/** `ip -batch` lines that make the bridge. What has no node's route fails at once instead of leaving. */
export function bridgeCommands(): readonly string[] {
  const { bridge, hostAddress, prefixLength, serviceCidr, podCidr } = networkPlan;
  return [
    'link set lo up',
    `link add ${bridge} type bridge`,
    `address add ${hostAddress}/${prefixLength} dev ${bridge}`,
    `link set ${bridge} up`,
    `route add unreachable ${serviceCidr}`,
    `route add unreachable ${podCidr}`,
  ];
}

/** In the cluster's namespace: the cable to a node whose namespace exists, and the way to its pods. */
export function cableCommands({ link, netns, podCidr, address }: NodePlan): readonly string[] {
  return [
    `link add ${link} type veth peer name eth0 netns ${netns}`,
    `link set ${link} master ${networkPlan.bridge} up`,
    `route replace ${podCidr} via ${address}`,
  ];
}

/**
 * In the node's namespace. A Service's address takes a route although no packet ever goes there: connect() looks one up
 * before kube-proxy rewrites the destination.
 */
export function nodeCommands(node: NodePlan, all: readonly NodePlan[]): readonly string[] {
  const { hostAddress, prefixLength, serviceCidr } = networkPlan;
  const others = all.filter(({ index }) => index !== node.index);
  return [
    'link set lo up',
    'link set eth0 up',
    `address add ${node.address}/${prefixLength} dev eth0`,
    `route add ${serviceCidr} via ${hostAddress}`,
    'route add unreachable default metric 4278198272',
    ...others.map(({ podCidr, address }) => `route add ${podCidr} via ${address}`),
  ];
}
