// The configuration files of a local node's services. What is not obvious about a value has its reason beside it; most
// have to do with running on a machine that is not the node's alone, without CAP_SYS_RESOURCE and with any cgroup layout.

import type { KubeProxyMode } from '../cluster.ts';
import { networkPlan, type NodePlan } from './network-plan.ts';

export interface NodeFilesOptions {
  readonly node: NodePlan;
  /** File with the certificate that signs clients. */
  readonly authority: string;
  /** Kubeconfig of kube-proxy. */
  readonly proxyKubeconfig: string;
  readonly resolvConf: string;
  readonly kubeProxyMode: KubeProxyMode;
}

export const pauseImage = 'weft.test/pause:1';

/** By name, relative to the node's directory. */
export function nodeFiles(options: NodeFilesOptions): Readonly<Record<string, string>> {
  return {
    'containerd.toml': containerdToml,
    'kubelet.json': JSON.stringify(kubeletConfiguration(options), undefined, 2),
    'kube-proxy.json': JSON.stringify(kubeProxyConfiguration(options), undefined, 2),
    'disk/cni-conf/10-bridge.conflist': JSON.stringify(cniConfiguration(options.node), undefined, 2),
  };
}

/** Without `restrict_oom_score_adj` no sandbox starts where CAP_SYS_RESOURCE is missing. */
const containerdToml = `version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
disabled_plugins = [
  "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.aufs",
  "io.containerd.tracing.processor.v1.otlp", "io.containerd.internal.v1.tracing",
]
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "${pauseImage}"
  restrict_oom_score_adj = true
  disable_apparmor = true
  tolerate_missing_hugetlb_controller = true
  disable_hugetlb_controller = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/opt/cni/bin"
    conf_dir = "/etc/cni/net.d"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
[plugins."io.containerd.internal.v1.opt"]
  path = "/var/lib/containerd/opt"
`;

function kubeletConfiguration({ authority, resolvConf }: NodeFilesOptions): object {
  return {
    apiVersion: 'kubelet.config.k8s.io/v1beta1',
    kind: 'KubeletConfiguration',
    authentication: {
      anonymous: { enabled: false },
      webhook: { enabled: true },
      x509: { clientCAFile: authority },
    },
    authorization: { mode: 'Webhook' },
    clusterDomain: networkPlan.domain,
    clusterDNS: [networkPlan.dnsService],
    containerRuntimeEndpoint: 'unix:///run/containerd/containerd.sock',
    cgroupDriver: 'cgroupfs',
    failCgroupV1: false,
    cgroupRoot: '/',
    cgroupsPerQOS: true,
    enforceNodeAllocatable: ['pods'],
    // Lowering it takes CAP_SYS_RESOURCE.
    oomScoreAdj: 0,
    failSwapOn: false,
    kubeAPIQPS: 200,
    kubeAPIBurst: 400,
    resolvConf,
    rotateCertificates: false,
    serverTLSBootstrap: false,
    // Else it writes /proc/sys values of the whole machine.
    protectKernelDefaults: true,
    // No image could be had again: none is ever removed.
    imageGCHighThresholdPercent: 100,
    imageMaximumGCAge: '0s',
    evictionHard: {
      'memory.available': '0%',
      'nodefs.available': '0%',
      'nodefs.inodesFree': '0%',
      'imagefs.available': '0%',
    },
    shutdownGracePeriod: '0s',
    localStorageCapacityIsolation: false,
    makeIPTablesUtilChains: false,
  };
}

function kubeProxyConfiguration({ node, proxyKubeconfig, kubeProxyMode }: NodeFilesOptions): object {
  return {
    apiVersion: 'kubeproxy.config.k8s.io/v1alpha1',
    kind: 'KubeProxyConfiguration',
    mode: kubeProxyMode,
    clusterCIDR: networkPlan.podCidr,
    hostnameOverride: node.name,
    clientConnection: { kubeconfig: proxyKubeconfig },
    oomScoreAdj: 0,
    // These limits can be written in the machine's first network namespace only; 0 leaves them alone.
    conntrack: { maxPerCore: 0, min: 0, tcpEstablishedTimeout: '0s', tcpCloseWaitTimeout: '0s' },
  };
}

/** No masquerading anywhere: servers see the addresses of pods, as under most CNIs of clouds. */
function cniConfiguration({ podCidr }: NodePlan): object {
  return {
    cniVersion: '1.0.0',
    name: 'pods',
    plugins: [
      {
        type: 'bridge',
        bridge: 'cni0',
        isGateway: true,
        ipMasq: false,
        hairpinMode: true,
        mtu: 1500,
        ipam: { type: 'host-local', ranges: [[{ subnet: podCidr }]], routes: [{ dst: '0.0.0.0/0' }] },
      },
      { type: 'portmap', capabilities: { portMappings: true } },
    ],
  };
}
