// Installs the mesh as users are told to: what `weft install` prints goes to `kubectl apply --server-side`.

import { createHash } from 'node:crypto';
import { runCli } from '../../cli/run-cli.ts';
import type { Cluster } from '../cluster/cluster.ts';
import { ClusterError } from '../cluster/cluster-error.ts';
import type { Kubectl } from '../cluster/kubectl.ts';
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

/** On the mesh's namespace: what of it was applied last. A namespace that is made anew has none. */
const appliedAnnotation = 'weft.test/applied';

/** Of the installation that all suites share. To change replicas back and forth would take minutes of each run. */
const sharedOptions = ['--ha'] as const;

/**
 * Resolves when the mesh runs. All suites share one installation, so it is quick where it runs already; whoever changes it
 * brings it back. Idempotent, also with other options.
 */
export async function installMesh({ kubectl }: Cluster, ...options: readonly string[]): Promise<void> {
  const manifest = await installationManifest(...(options.length === 0 ? sharedOptions : options));
  const digest = createHash('sha256').update(manifest).digest('hex');
  const read = ['get', 'namespace', meshNamespace, '--ignore-not-found', '-o', 'jsonpath={.metadata}'];
  if (!(await kubectl.ok(read)).includes(digest)) await kubectl.apply(manifest);
  await meshRunning(kubectl);
  const applied = `${appliedAnnotation}=${digest}`;
  await kubectl.ok(['annotate', 'namespace', meshNamespace, '--overwrite', applied]);
}

/** Resolves when every part of the mesh runs as it is meant to. */
export async function meshRunning(kubectl: Kubectl): Promise<void> {
  await kubectl.rolledOut(meshNamespace, 'deployment/weft-controller', 120);
  await kubectl.rolledOut(meshNamespace, 'daemonset/weft-ztunnel', 120);
}
