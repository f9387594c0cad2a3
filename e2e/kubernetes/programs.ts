// Finds kube-apiserver, etcd and kubectl, or builds the Kubernetes ones from Go modules. A build is kept by the hash of
// what it is made from, so a change of the pinned modules builds again and an unchanged checkout never does.

import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { access, constants, mkdir, readFile, rename, symlink, unlink } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { run } from './command.ts';
import { RigError } from './rig-error.ts';

export interface Programs {
  readonly etcd: string;
  readonly apiServer: string;
  readonly kubectl?: string;
  /** Only in a build of ours; what a user names by KUBEBUILDER_ASSETS rarely has it. */
  readonly controllerManager?: string;
}

/** Newest release whose kubelet still takes cgroup v1 and containerd 1.6 (issue: the machines of the end to end tests). */
export const kubernetesVersion = '1.34.4';

const moduleDirectory = fileURLToPath(new URL('programs/', import.meta.url));
const sources = ['go.mod', 'go.sum', 'main.go'];
const links = [
  'kube-apiserver',
  'kube-controller-manager',
  'kube-scheduler',
  'kubelet',
  'kube-proxy',
  'kubectl',
];

export interface FindOptions {
  readonly env: NodeJS.ProcessEnv;
  /** Told before the long part begins. */
  readonly onBuild: (text: string) => void;
}

/** Throws RigError `PROGRAMS_MISSING` with one line for people, or `BUILD_FAILED`. */
export async function findPrograms({ env, onBuild }: FindOptions): Promise<Programs> {
  const assets = env['KUBEBUILDER_ASSETS'];
  const etcd = (await inAssets(assets, 'etcd')) ?? (await onPath(env, 'etcd'));
  const given = await inAssets(assets, 'kube-apiserver');
  if (etcd === undefined) {
    throw new RigError(
      'PROGRAMS_MISSING',
      'etcd is missing: install it (Debian and Ubuntu: apt-get install etcd-server) or set KUBEBUILDER_ASSETS',
    );
  }
  if (given !== undefined) {
    const kubectl = (await inAssets(assets, 'kubectl')) ?? (await onPath(env, 'kubectl'));
    return { etcd, apiServer: given, ...(kubectl === undefined ? {} : { kubectl }) };
  }
  const directory = await builtPrograms(env, onBuild);
  return {
    etcd,
    apiServer: join(directory, 'kube-apiserver'),
    kubectl: join(directory, 'kubectl'),
    controllerManager: join(directory, 'kube-controller-manager'),
  };
}

/** The folder with `kube-multi` and a link for each program; builds them (minutes) unless they are there. */
async function builtPrograms(env: NodeJS.ProcessEnv, onBuild: (text: string) => void): Promise<string> {
  const directory = join(env['WEFT_CACHE'] ?? '/var/cache/weft', `kube-${await sourceHash()}`);
  const binary = join(directory, 'kube-multi');
  if (!existsSync(binary)) await build(env, binary, onBuild);
  for (const name of links) {
    if (existsSync(join(directory, name))) continue;
    await symlink('kube-multi', join(directory, name)).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') throw error;
    });
  }
  return directory;
}

async function build(env: NodeJS.ProcessEnv, binary: string, onBuild: (text: string) => void): Promise<void> {
  if ((await onPath(env, 'go')) === undefined) {
    throw new RigError(
      'PROGRAMS_MISSING',
      'kube-apiserver is missing: install Go 1.24 or later, which builds it, or set KUBEBUILDER_ASSETS to a folder that has it',
    );
  }
  const directory = join(binary, '..');
  await mkdir(directory, { recursive: true }).catch((cause: NodeJS.ErrnoException) => {
    const reason = `Cannot make the cache folder "${directory}" (${cause.code}): run once as root, or set WEFT_CACHE`;
    throw new RigError('PROGRAMS_MISSING', reason, { cause });
  });
  onBuild(`building Kubernetes ${kubernetesVersion} from Go modules into ${directory} (about 6 min, once)`);
  const version = 'k8s.io/component-base/version';
  const [major, minor] = kubernetesVersion.split('.');
  const flags = `-s -w -X ${version}.gitVersion=v${kubernetesVersion} -X ${version}.gitMajor=${major} -X ${version}.gitMinor=${minor}`;
  // Linked beside and moved into place: a build that was interrupted leaves nothing that looks finished.
  const unfinished = `${binary}.${process.pid}`;
  const built = await run(
    ['nice', '-n', '19', 'go', 'build', '-trimpath', '-ldflags', flags, '-o', unfinished, '.'],
    { cwd: moduleDirectory, env: { ...env, CGO_ENABLED: '0', GOFLAGS: '-mod=readonly -buildvcs=false' } },
  );
  if (built.status !== 0) {
    await unlink(unfinished).catch(() => {});
    const tail = built.stderr.trimEnd().split('\n').slice(-5).join('\n');
    throw new RigError(
      'BUILD_FAILED',
      `Building Kubernetes failed; is the Go module proxy reachable?\n${tail}`,
    );
  }
  await rename(unfinished, binary);
}

async function sourceHash(): Promise<string> {
  const hash = createHash('sha256');
  for (const name of sources) hash.update(await readFile(join(moduleDirectory, name)));
  return hash.digest('hex').slice(0, 16);
}

async function inAssets(assets: string | undefined, name: string): Promise<string | undefined> {
  if (assets === undefined || assets === '') return undefined;
  return (await isExecutable(join(assets, name))) ? join(assets, name) : undefined;
}

async function onPath(env: NodeJS.ProcessEnv, name: string): Promise<string | undefined> {
  for (const directory of (env['PATH'] ?? '').split(delimiter)) {
    if (directory !== '' && (await isExecutable(join(directory, name)))) return join(directory, name);
  }
  return undefined;
}

async function isExecutable(path: string): Promise<boolean> {
  return await access(path, constants.X_OK).then(
    () => true,
    () => false,
  );
}
