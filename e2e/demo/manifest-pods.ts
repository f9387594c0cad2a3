// The pods and nodes that the demo's manifests describe: the lab builds its network namespaces from the same files the
// controller reads, so there is one place that says which pod has which address.

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseAllDocuments } from 'yaml';
import type { Address } from '../lab/topology.ts';

export interface DemoPod {
  readonly name: string;
  readonly namespace: string;
  readonly node: string;
  readonly app: string;
  readonly address: Address;
}

export interface DemoInventory {
  readonly nodes: readonly string[];
  readonly pods: readonly DemoPod[];
}

interface Manifest {
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace: string;
    readonly labels?: Record<string, string>;
  };
  readonly spec: { readonly nodeName: string };
  readonly status: { readonly podIPs: readonly { readonly ip: string }[] };
}

/** Reads every YAML file of a directory; the demo's own manifests are trusted to be well formed. */
export function readInventory(directory: string): DemoInventory {
  const manifests = readdirSync(directory)
    .filter((file) => file.endsWith('.yaml'))
    .toSorted()
    .flatMap((file) => parseAllDocuments(readFileSync(join(directory, file), 'utf8')))
    .map((document) => document.toJS() as Manifest);
  const named = (kind: string): Manifest[] => manifests.filter((manifest) => manifest.kind === kind);
  return { nodes: named('Node').map((node) => node.metadata.name), pods: named('Pod').map(toPod) };
}

function toPod({ metadata, spec, status }: Manifest): DemoPod {
  const [v4 = '', v6 = ''] = status.podIPs.map((entry) => entry.ip);
  const { name, namespace, labels } = metadata;
  return { name, namespace, node: spec.nodeName, app: labels?.['app'] ?? name, address: { v4, v6 } };
}
