// Finds kube-apiserver, etcd and kubectl for an API server alone, and everything a whole cluster runs; builds what there
// is only as Go modules. What the user names by KUBEBUILDER_ASSETS goes before what is built or on PATH.

import { existsSync } from 'node:fs';
import { symlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type BuildOptions, builtProgram, type GoProgram, isExecutable, onPath } from './go-program.ts';
import { RigError } from './rig-error.ts';

export interface Programs {
  readonly etcd: string;
  readonly apiServer: string;
  readonly kubectl?: string;
  /** Only in a build of ours; what a user names by KUBEBUILDER_ASSETS rarely has it. */
  readonly controllerManager?: string;
}

/** What a cluster with nodes runs. All of one version, so of Kubernetes' programs none is taken from elsewhere. */
export interface ClusterPrograms {
  readonly etcd: string;
  /** Folder with kube-apiserver, kube-controller-manager, kube-scheduler, kubelet, kube-proxy and kubectl. */
  readonly kubernetes: string;
  readonly coredns: string;
}

/** Newest release whose kubelet still takes cgroup v1 and containerd 1.6 (issue: the machines of the end to end tests). */
export const kubernetesVersion = '1.34.4';

const links = [
  'kube-apiserver',
  'kube-controller-manager',
  'kube-scheduler',
  'kubelet',
  'kube-proxy',
  'kubectl',
];

const kubernetes: GoProgram = {
  name: 'kube-multi',
  folder: 'kube',
  module: fileURLToPath(new URL('programs/', import.meta.url)),
  title: `Kubernetes ${kubernetesVersion}`,
  duration: 'about 6 min',
  linkerFlags: versionFlags('k8s.io/component-base/version'),
};

const coredns: GoProgram = {
  name: 'coredns',
  folder: 'coredns',
  module: fileURLToPath(new URL('programs/coredns/', import.meta.url)),
  title: 'CoreDNS',
  duration: 'about 2 min',
};

const helm: GoProgram = {
  name: 'helm',
  folder: 'helm',
  module: fileURLToPath(new URL('programs/helm/', import.meta.url)),
  package: 'helm.sh/helm/v3/cmd/helm',
  title: 'Helm',
  duration: 'about 2 min',
};

/** Throws RigError `PROGRAMS_MISSING` with one line for people, or `BUILD_FAILED`. */
export async function findPrograms(options: BuildOptions): Promise<Programs> {
  const { env } = options;
  const assets = env['KUBEBUILDER_ASSETS'];
  const etcd = await findEtcd(env);
  const given = await inAssets(assets, 'kube-apiserver');
  if (given !== undefined) {
    const kubectl = (await inAssets(assets, 'kubectl')) ?? (await onPath(env, 'kubectl'));
    return { etcd, apiServer: given, ...(kubectl === undefined ? {} : { kubectl }) };
  }
  const directory = await builtKubernetes(options);
  return {
    etcd,
    apiServer: join(directory, 'kube-apiserver'),
    kubectl: join(directory, 'kubectl'),
    controllerManager: join(directory, 'kube-controller-manager'),
  };
}

/** As findPrograms. */
export async function findClusterPrograms(options: BuildOptions): Promise<ClusterPrograms> {
  return {
    etcd: await findEtcd(options.env),
    kubernetes: await builtKubernetes(options),
    coredns: await builtProgram(coredns, options),
  };
}

/** kubectl alone, as a cluster of elsewhere takes it: the user's own, else ours. */
export async function findKubectl(options: BuildOptions): Promise<string> {
  const { env } = options;
  const given = (await inAssets(env['KUBEBUILDER_ASSETS'], 'kubectl')) ?? (await onPath(env, 'kubectl'));
  return given ?? join(await builtKubernetes(options), 'kubectl');
}

/** Always ours: what charts come to differs between versions. */
export async function findHelm(options: BuildOptions): Promise<string> {
  return await builtProgram(helm, options);
}

async function findEtcd(env: NodeJS.ProcessEnv): Promise<string> {
  const etcd = (await inAssets(env['KUBEBUILDER_ASSETS'], 'etcd')) ?? (await onPath(env, 'etcd'));
  if (etcd !== undefined) return etcd;
  throw new RigError(
    'PROGRAMS_MISSING',
    'etcd is missing: install it (Debian and Ubuntu: apt-get install etcd-server) or set KUBEBUILDER_ASSETS',
  );
}

/** The folder with `kube-multi` and a link for each program. */
async function builtKubernetes(options: BuildOptions): Promise<string> {
  const directory = dirname(await builtProgram(kubernetes, options));
  for (const name of links) {
    if (existsSync(join(directory, name))) continue;
    await symlink('kube-multi', join(directory, name)).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') throw error;
    });
  }
  return directory;
}

function versionFlags(variables: string): string {
  const [major, minor] = kubernetesVersion.split('.');
  return `-X ${variables}.gitVersion=v${kubernetesVersion} -X ${variables}.gitMajor=${major} -X ${variables}.gitMinor=${minor}`;
}

async function inAssets(assets: string | undefined, name: string): Promise<string | undefined> {
  if (assets === undefined || assets === '') return undefined;
  return (await isExecutable(join(assets, name))) ? join(assets, name) : undefined;
}
