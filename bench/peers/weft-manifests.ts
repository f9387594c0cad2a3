// The manifests that put the site's two pods into the mesh.

import { stringify } from 'yaml';
import type { LabHost } from '../../e2e/lab/lab.ts';
import { type Site, serverPorts } from '../site.ts';

const namespace = 'bench';

/** Multi-document YAML for the controller's directory. */
export function weftManifests(site: Site): string {
  const documents = [
    ...[...new Set([site.clientNode, site.serverNode])].map((node) =>
      object('v1', 'Node', { name: node.name }),
    ),
    object(
      'weft.dev/v1alpha1',
      'MeshConfig',
      { name: 'default' },
      { spec: { accessLog: 'FAILURES', sameNode: 'KERNEL' } },
    ),
    object('v1', 'Namespace', { name: namespace, labels: { 'weft.dev/mode': 'ambient' } }),
    ...[site.client, site.server].flatMap((host) => [
      object('v1', 'ServiceAccount', { name: host.name, namespace }),
      pod(host),
    ]),
  ];
  return yaml(documents);
}

/** A further pod, in the mesh or kept out of it. */
export function podManifests(host: LabHost, { enrolled }: { readonly enrolled: boolean }): string {
  const account = object('v1', 'ServiceAccount', { name: host.name, namespace });
  return yaml([account, pod(host, enrolled ? {} : { 'weft.dev/mode': 'none' })]);
}

function yaml(documents: readonly object[]): string {
  return documents.map((document) => stringify(document)).join('---\n');
}

function pod(host: LabHost, labels: Readonly<Record<string, string>> = {}): object {
  const metadata = {
    name: host.name,
    namespace,
    labels: { app: host.name, ...labels },
    annotations: { 'weft.dev/netns': host.namespace },
  };
  const ports = Object.entries(serverPorts).map(([name, containerPort]) => ({ name, containerPort }));
  return object('v1', 'Pod', metadata, {
    spec: { nodeName: host.node, serviceAccountName: host.name, containers: [{ name: host.name, ports }] },
    status: { podIPs: [{ ip: host.address.v4 }, { ip: host.address.v6 }] },
  });
}

function object(apiVersion: string, kind: string, metadata: object, rest: object = {}): object {
  return { apiVersion, kind, metadata, ...rest };
}
