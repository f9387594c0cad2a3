// The files an installation is made of, in the order a cluster can take them: definitions, namespace, who may do what,
// then what runs. Read as YAML documents that keep their comments; what is changed in them is in customise.ts.

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Document, parseDocument } from 'yaml';

const folder = fileURLToPath(new URL('../../manifests/', import.meta.url));

export const controllerFiles = [
  'namespace.yaml',
  'service-account.yaml',
  'cluster-role.yaml',
  'cluster-role-binding.yaml',
  'role.yaml',
  'role-binding.yaml',
  'service.yaml',
  'deployment.yaml',
] as const;

export const ztunnelFiles = ['service-account.yaml', 'daemon-set.yaml'] as const;

export type OptionalFile = 'pod-disruption-budget.yaml' | 'service-monitor.yaml';

/** One object of an installation. */
export interface ManifestFile {
  /** Below manifests/, as `controller/deployment.yaml`. */
  readonly path: string;
  readonly document: Document;
}

/** Texts of the custom resource definitions, as they are, by path below manifests/. */
export function readDefinitions(): ReadonlyMap<string, string> {
  const names = readdirSync(join(folder, 'crds')).filter((name) => name.endsWith('.yaml'));
  return new Map(
    names.sort().map((name) => [`crds/${name}`, readFileSync(join(folder, 'crds', name), 'utf8')]),
  );
}

/** Of the controller, then of the node tunnel. */
export function readProgramFiles(): ManifestFile[] {
  return [
    ...controllerFiles.map((name) => read(`controller/${name}`)),
    ...ztunnelFiles.map((name) => read(`ztunnel/${name}`)),
  ];
}

export function readOptionalFile(name: OptionalFile): ManifestFile {
  return read(`optional/${name}`);
}

/** One document a file. Throws if a file of the installation is broken. */
function read(path: string): ManifestFile {
  const document = parseDocument(readFileSync(join(folder, path), 'utf8'));
  const [error] = document.errors;
  if (error !== undefined) throw error;
  return { path, document };
}
