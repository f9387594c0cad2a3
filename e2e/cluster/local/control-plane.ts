// The control plane of a local cluster: etcd, kube-apiserver, kube-controller-manager and kube-scheduler as processes
// of this one. Not pods, unlike kind's; everything else about them is a real cluster's.

import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { BackgroundProgram } from '../../kubernetes/background-program.ts';
import { ClusterKeys } from '../../kubernetes/cluster-keys.ts';
import type { Kubectl } from '../kubectl.ts';
import { apiServerUrl, networkPlan } from './network-plan.ts';

export interface ControlPlaneOptions {
  readonly state: string;
  readonly etcd: string;
  /** Folder with the programs of Kubernetes. */
  readonly programs: string;
}

const startTimeoutMs = 60_000;
const issuer = `https://kubernetes.default.svc.${networkPlan.domain}`;

/** The keys of a cluster whose API server is where the plan says. */
export async function createClusterKeys(directory: string): Promise<ClusterKeys> {
  const { hostAddress, kubernetesService, domain } = networkPlan;
  const service = ['kubernetes', 'kubernetes.default', `kubernetes.default.svc.${domain}`];
  return await ClusterKeys.create(directory, { names: service, addresses: [hostAddress, kubernetesService] });
}

export class ControlPlane {
  readonly #options: ControlPlaneOptions;
  readonly #keys: ClusterKeys;
  #programs: BackgroundProgram[] = [];

  constructor(keys: ClusterKeys, options: ControlPlaneOptions) {
    this.#keys = keys;
    this.#options = options;
    mkdirSync(this.#logs, { recursive: true });
  }

  get #logs(): string {
    return join(this.#options.state, 'log');
  }

  /** Resolves when the API server says it is ready and the others were started. Throws RigError. */
  async start(kubectl: Kubectl): Promise<void> {
    this.#start('etcd', this.#options.etcd, etcdFlags(this.#options.state));
    const apiServer = this.#start('kube-apiserver', undefined, await this.#apiServerFlags());
    const isReady = async () => (await kubectl.run(['get', '--raw', '/readyz'])).status === 0;
    await apiServer.ready(isReady, startTimeoutMs);
    // Both read roles at their start that the API server makes before it is ready; without, one of them gives up.
    this.#start('kube-controller-manager', undefined, await this.#controllerManagerFlags());
    this.#start('kube-scheduler', undefined, await this.#schedulerFlags());
  }

  /** There is nothing to save. */
  async stop(): Promise<void> {
    const programs = this.#programs.toReversed();
    this.#programs = [];
    await Promise.all(programs.map((program) => program.stop({ now: true })));
  }

  #start(name: string, path: string | undefined, flags: Readonly<Record<string, string>>): BackgroundProgram {
    const argv = [path ?? join(this.#options.programs, name)];
    for (const [flag, value] of Object.entries(flags)) argv.push(`--${flag}=${value}`);
    const program = new BackgroundProgram(name, argv, { logFile: join(this.#logs, `${name}.log`) });
    this.#programs.push(program);
    return program;
  }

  async #apiServerFlags(): Promise<Readonly<Record<string, string>>> {
    const keys = this.#keys;
    const kubelet = await keys.clientCertificate({ user: 'kube-apiserver', groups: ['system:masters'] });
    return {
      'etcd-servers': `http://127.0.0.1:${networkPlan.etcdPort}`,
      'bind-address': networkPlan.hostAddress,
      'advertise-address': networkPlan.hostAddress,
      'secure-port': `${networkPlan.apiServerPort}`,
      'service-cluster-ip-range': networkPlan.serviceCidr,
      'authorization-mode': 'Node,RBAC',
      'enable-admission-plugins': 'NodeRestriction',
      'allow-privileged': 'true',
      'tls-cert-file': keys.path('apiserver.crt'),
      'tls-private-key-file': keys.path('apiserver.key'),
      'client-ca-file': keys.path('ca.crt'),
      // Kubelets sign their own serving certificates: without an authority for them they are taken as they are.
      'kubelet-client-certificate': kubelet.certificate,
      'kubelet-client-key': kubelet.key,
      'kubelet-preferred-address-types': 'InternalIP',
      'service-account-issuer': issuer,
      'service-account-key-file': keys.path('sa.pub'),
      'service-account-signing-key-file': keys.path('sa.key'),
      // No kube-proxy runs out here: webhooks are dialled at the addresses of their pods.
      'enable-aggregator-routing': 'true',
      profiling: 'false',
    };
  }

  async #controllerManagerFlags(): Promise<Readonly<Record<string, string>>> {
    const keys = this.#keys;
    const kubeconfig = await keys.kubeconfig({ user: 'system:kube-controller-manager' }, apiServerUrl);
    return {
      ...clientFlags(kubeconfig),
      'secure-port': `${networkPlan.controllerManagerPort}`,
      'cert-dir': join(this.#options.state, 'controller-manager'),
      'service-account-private-key-file': keys.path('sa.key'),
      'root-ca-file': keys.path('ca.crt'),
      'use-service-account-credentials': 'true',
      'allocate-node-cidrs': 'false',
      // At the default it throttles itself for seconds at its start.
      'kube-api-qps': '500',
      'kube-api-burst': '1000',
      'node-monitor-period': '2s',
      'node-monitor-grace-period': '16s',
    };
  }

  async #schedulerFlags(): Promise<Readonly<Record<string, string>>> {
    const kubeconfig = await this.#keys.kubeconfig({ user: 'system:kube-scheduler' }, apiServerUrl);
    return {
      ...clientFlags(kubeconfig),
      'secure-port': `${networkPlan.schedulerPort}`,
      'cert-dir': join(this.#options.state, 'scheduler'),
    };
  }
}

function etcdFlags(state: string): Readonly<Record<string, string>> {
  const client = `http://127.0.0.1:${networkPlan.etcdPort}`;
  const peer = `http://127.0.0.1:${networkPlan.etcdPeerPort}`;
  return {
    name: 'e2e',
    'data-dir': join(state, 'etcd'),
    'listen-client-urls': client,
    'advertise-client-urls': client,
    'listen-peer-urls': peer,
    'initial-advertise-peer-urls': peer,
    'initial-cluster': `e2e=${peer}`,
    'log-level': 'warn',
    'unsafe-no-fsync': 'true',
  };
}

function clientFlags(kubeconfig: string): Readonly<Record<string, string>> {
  return {
    kubeconfig,
    'authentication-kubeconfig': kubeconfig,
    'authorization-kubeconfig': kubeconfig,
    'bind-address': '127.0.0.1',
    'leader-elect': 'false',
    profiling: 'false',
  };
}
