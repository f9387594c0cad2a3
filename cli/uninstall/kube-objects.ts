// Objects of whatever kind, found by asking the API server which kinds there are: what an older or newer version installed
// is found too.

import type { KubeClient } from '../../controller/kubernetes/kube-client.ts';
import { KubeError } from '../../controller/kubernetes/kube-error.ts';
import { objectPath } from '../../controller/kubernetes/object-path.ts';

export type Client = Pick<KubeClient, 'request'>;

export interface Kind {
  readonly kind: string;
  /** `''` for core. */
  readonly group: string;
  readonly resource: string;
  /** Collection over all namespaces. */
  readonly path: string;
  readonly isNamespaced: boolean;
}

export interface ObjectMeta {
  readonly name: string;
  readonly namespace?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly ownerReferences?: readonly { readonly kind: string }[];
}

export interface FoundObject {
  readonly kind: Kind;
  readonly metadata: ObjectMeta;
}

interface ResourceList {
  readonly resources: readonly {
    readonly name: string;
    readonly kind: string;
    readonly namespaced: boolean;
    readonly verbs: readonly string[];
  }[];
}

/** Metadata only: of Secrets too nothing else is asked for. */
const metadataOnly = 'application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io,application/json';
/** Computed, not stored. */
const virtualGroups = new Set(['metrics.k8s.io', 'custom.metrics.k8s.io', 'external.metrics.k8s.io']);

/** Kinds that can be listed and deleted, each in its preferred version, and groups that did not answer. */
export async function discoverAll(
  client: Client,
): Promise<{ readonly kinds: readonly Kind[]; readonly silent: readonly string[] }> {
  const { groups } = await client.request<{
    groups: readonly { name: string; preferredVersion: { groupVersion: string } }[];
  }>({ path: '/apis' });
  const stored = groups.filter(({ name }) => !virtualGroups.has(name));
  const wanted = [
    { group: '', path: '/api/v1' },
    ...stored.map(({ name, preferredVersion }) => ({
      group: name,
      path: `/apis/${preferredVersion.groupVersion}`,
    })),
  ];
  const silent: string[] = [];
  const found = await Promise.all(
    wanted.map(async ({ group, path }) => {
      const list = await client.request<ResourceList>({ path }).catch((error: unknown) => {
        // A group that another server serves, and that one is away.
        if (!(error instanceof KubeError) || !['SERVER', 'NOT_FOUND'].includes(error.code)) throw error;
        silent.push(group);
        return undefined;
      });
      return (list?.resources ?? []).flatMap(({ name, kind, namespaced, verbs }) =>
        !name.includes('/') && verbs.includes('list') && verbs.includes('delete')
          ? [{ kind, group, resource: name, path: `${path}/${name}`, isNamespaced: namespaced }]
          : [],
      );
    }),
  );
  return { kinds: found.flat(), silent };
}

/** Of all namespaces, or of one. */
export async function listObjects(
  client: Client,
  kind: Kind,
  { labelSelector, namespace }: { readonly labelSelector?: string; readonly namespace?: string },
): Promise<readonly FoundObject[]> {
  const query = labelSelector === undefined ? '' : `?${new URLSearchParams({ labelSelector })}`;
  const base = kind.path.slice(0, -kind.resource.length);
  const within = namespace === undefined ? '' : `namespaces/${namespace}/`;
  const path = `${base}${within}${kind.resource}${query}`;
  const { items } = await client.request<{ items: readonly { metadata: ObjectMeta }[] | null }>({
    path,
    accept: metadataOnly,
  });
  return (items ?? []).map(({ metadata }) => ({ kind, metadata }));
}

/** As `kubectl` names it, with its namespace: `deployment.apps weft-system/weft-controller`. */
export function nameOf({ kind, metadata }: FoundObject): string {
  const type = `${kind.kind.toLowerCase()}${kind.group === '' ? '' : `.${kind.group}`}`;
  return `${type} ${metadata.namespace === undefined ? '' : `${metadata.namespace}/`}${metadata.name}`;
}

export function pathOf({ kind, metadata }: FoundObject): string {
  return objectPath(kind, { namespace: metadata.namespace ?? '', name: metadata.name });
}

/** What `read` gives, or undefined if there is no such thing. */
export async function orMissing<T>(read: Promise<T>): Promise<T | undefined> {
  return await read.catch((error: unknown) => {
    if (error instanceof KubeError && error.code === 'NOT_FOUND') return undefined;
    throw error;
  });
}
