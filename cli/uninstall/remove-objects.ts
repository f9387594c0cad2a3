// Deletes objects of a cluster and waits until they are gone, and takes the mesh's marks from objects that stay. What is
// gone already is no error, so a run that was interrupted can be repeated.

import { waitFor } from '../../controller/kubernetes/wait.ts';
import type { Clock } from '../../mesh/runtime/clock.ts';
import { CliError } from '../cli-error.ts';
import { type Client, type FoundObject, nameOf, orMissing, pathOf } from './kube-objects.ts';

export interface RemoveOptions {
  readonly client: Client;
  readonly clock: Clock;
}

const pollMs = 200;
/** Pods have their grace time. */
const goneMs = 90_000;
const captured = 'weft.dev/Captured';
/** By which users put things into the mesh; those of Istio's names may be Istio's. */
const userLabels = ['mode', 'waypoint', 'waypoint-namespace', 'waypoint-missing', 'same-node'].map(
  (name) => `weft.dev/${name}`,
);

/** Resolves when all are gone, with what they owned. Rejects with CliError `failed` for what stays, and with KubeError. */
export async function removeObjects(
  objects: readonly FoundObject[],
  { client, clock }: RemoveOptions,
): Promise<void> {
  await Promise.all(objects.map((object) => removeObject(object, { client, clock })));
}

async function removeObject(object: FoundObject, { client, clock }: RemoveOptions): Promise<void> {
  const path = pathOf(object);
  const body = { propagationPolicy: 'Foreground' };
  const deleted = await orMissing(client.request({ method: 'DELETE', path, body }));
  if (deleted === undefined) return;
  const { signal } = new AbortController();
  const deadline = clock.monotonic() + goneMs;
  while ((await orMissing(client.request({ path }))) !== undefined) {
    if (clock.monotonic() > deadline) {
      throw new CliError(
        'failed',
        `${nameOf(object)} was deleted, but is still there after ${goneMs / 1000} s; a finalizer may hold it: look at its metadata, then run this again`,
      );
    }
    await waitFor(clock, pollMs, signal);
  }
}

interface Marked {
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly labels?: Readonly<Record<string, string>>;
  };
  readonly spec?: { readonly readinessGates?: readonly { readonly conditionType: string }[] };
  readonly status?: { readonly conditions?: readonly { readonly type: string }[] };
}

/** Takes the condition that says how a pod is captured from every pod; returns of how many. */
export async function removeConditions({ client }: RemoveOptions): Promise<number> {
  const { items } = await client.request<{ items: readonly Marked[] }>({ path: '/api/v1/pods' });
  const marked = items.filter(({ status }) => status?.conditions?.some(({ type }) => type === captured));
  const body = { status: { conditions: [{ type: captured, $patch: 'delete' }] } };
  for (const { metadata } of marked) {
    const path = `/api/v1/namespaces/${metadata.namespace}/pods/${metadata.name}/status`;
    const contentType = 'application/strategic-merge-patch+json';
    await orMissing(client.request({ method: 'PATCH', path, body, contentType }));
  }
  return marked.length;
}

/** Pods that are ready only with the condition; `namespace/name`. */
export async function findGated(client: Client): Promise<readonly string[]> {
  const { items } = await client.request<{ items: readonly Marked[] }>({ path: '/api/v1/pods' });
  return items
    .filter(({ spec }) => spec?.readinessGates?.some(({ conditionType }) => conditionType === captured))
    .map(({ metadata }) => `${metadata.namespace}/${metadata.name}`);
}

/** Namespaces, Services and pods that have a label of the mesh. */
export async function findLabelled(
  client: Client,
): Promise<readonly { path: string; name: string; labels: string[] }[]> {
  const lists = await Promise.all(
    ['namespaces', 'services', 'pods'].map(async (resource) => {
      const { items } = await client.request<{ items: readonly Marked[] }>({ path: `/api/v1/${resource}` });
      return items.map((item) => ({ resource, ...item.metadata }));
    }),
  );
  return lists.flat().flatMap(({ resource, name, namespace, labels = {} }) => {
    const given = userLabels.filter((label) => Object.hasOwn(labels, label));
    const within = namespace === undefined ? '' : `namespaces/${namespace}/`;
    const path = `/api/v1/${within}${resource}/${name}`;
    return given.length === 0
      ? []
      : [{ path, name: `${resource} ${namespace ?? ''}/${name}`, labels: given }];
  });
}

export async function removeLabels(
  objects: readonly { readonly path: string; readonly labels: readonly string[] }[],
  { client }: RemoveOptions,
): Promise<void> {
  for (const { path, labels } of objects) {
    const body = { metadata: { labels: Object.fromEntries(labels.map((label) => [label, null])) } };
    const contentType = 'application/merge-patch+json';
    await orMissing(client.request({ method: 'PATCH', path, body, contentType }));
  }
}
