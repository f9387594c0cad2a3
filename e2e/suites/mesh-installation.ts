// Installs the mesh as users are told to: what `weft install` prints goes to `kubectl apply --server-side`.

import { runCli } from '../../cli/run-cli.ts';
import type { Cluster } from '../cluster/cluster.ts';
import { ClusterError } from '../cluster/cluster-error.ts';
import { weftImage } from '../images/build-images.ts';

/** The namespace of an installation that names no other. */
export const meshNamespace = 'weft-system';

/** What `weft install` prints with the image of this run. */
export async function installationManifest(...options: readonly string[]): Promise<string> {
  let manifest = '';
  let problems = '';
  const output = { out: (text: string) => (manifest += text), err: (text: string) => (problems += text) };
  const status = await runCli(['install', '--image', weftImage, ...options], output);
  if (status !== 0) throw new ClusterError('command', `weft install ended with ${status}: ${problems}`);
  return manifest;
}

/** Resolves when the mesh runs. Idempotent, also with other options. */
export async function installMesh({ kubectl }: Cluster, ...options: readonly string[]): Promise<void> {
  const manifest = await installationManifest(...options);
  await kubectl.apply(manifest);
  await kubectl.rolledOut(meshNamespace, 'deployment/weft-controller', 120);
  await kubectl.rolledOut(meshNamespace, 'daemonset/weft-ztunnel', 120);
}
