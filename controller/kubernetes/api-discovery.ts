// Which of the wanted kinds this API server serves, under which path: the newest version each kind is served in.

import type { KubeClient } from './kube-client.ts';
import { KubeError } from './kube-error.ts';

export interface WantedKind {
  readonly kind: string;
  /** `''` for core. */
  readonly group: string;
  /** Best first. */
  readonly versions: readonly string[];
}

export interface ServedKind {
  readonly kind: string;
  readonly apiVersion: string;
  /** Collection over all namespaces. */
  readonly path: string;
  /** Path of one object is `path` with `/namespaces/NS` before this, and `/NAME` after it. */
  readonly resource: string;
}

interface ResourceList {
  readonly resources?: readonly {
    readonly name: string;
    readonly kind: string;
    readonly verbs?: readonly string[];
  }[];
}

/**
 * By kind; a kind that is not served is absent.
 * Rejects with KubeError if the API server cannot tell: absence is never guessed.
 */
export async function discoverKinds(
  client: KubeClient,
  wanted: readonly WantedKind[],
  signal: AbortSignal,
): Promise<ReadonlyMap<string, ServedKind>> {
  const served = new Map<string, ServedKind>();
  const groups = Map.groupBy(wanted, ({ group }) => group);
  const found = [...groups].map(async ([group, kinds]) => {
    for (const kind of await discoverGroup(client, { group, kinds, signal })) served.set(kind.kind, kind);
  });
  await Promise.all(found);
  return served;
}

interface GroupRequest {
  readonly group: string;
  readonly kinds: readonly WantedKind[];
  readonly signal: AbortSignal;
}

async function discoverGroup(
  client: KubeClient,
  { group, kinds, signal }: GroupRequest,
): Promise<readonly ServedKind[]> {
  const versions = group === '' ? ['v1'] : await servedVersions(client, group, signal);
  const resources = new Map<string, ResourceList['resources']>();
  for (const version of new Set(kinds.flatMap((kind) => kind.versions))) {
    if (!versions.includes(version)) continue;
    const list = await orAbsent(client.request<ResourceList>({ path: apiPath(group, version), signal }));
    resources.set(version, list?.resources ?? []);
  }
  return kinds.flatMap(({ kind, versions: candidates }) => {
    for (const version of candidates) {
      const isCollection = (name: string, verbs: readonly string[] = []): boolean =>
        !name.includes('/') && verbs.includes('watch');
      const match = resources
        .get(version)
        ?.find((resource) => resource.kind === kind && isCollection(resource.name, resource.verbs));
      if (match === undefined) continue;
      const apiVersion = group === '' ? version : `${group}/${version}`;
      return [{ kind, apiVersion, path: `${apiPath(group, version)}/${match.name}`, resource: match.name }];
    }
    return [];
  });
}

async function servedVersions(
  client: KubeClient,
  group: string,
  signal: AbortSignal,
): Promise<readonly string[]> {
  const answer = await orAbsent(
    client.request<{ versions?: readonly { version: string }[] }>({ path: `/apis/${group}`, signal }),
  );
  return (answer?.versions ?? []).map(({ version }) => version);
}

function apiPath(group: string, version: string): string {
  return group === '' ? `/api/${version}` : `/apis/${group}/${version}`;
}

async function orAbsent<T>(answer: Promise<T>): Promise<T | undefined> {
  return await answer.catch((error: unknown) => {
    if (error instanceof KubeError && error.code === 'NOT_FOUND') return undefined;
    throw error;
  });
}
