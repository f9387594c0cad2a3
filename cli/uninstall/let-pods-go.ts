// Has the controller tell all nodes that no pod is in the mesh any more, and waits until they have let them go. While nodes
// are cleaned one after the other a pod of the mesh would otherwise dial one that has left it.

import { waitFor } from '../../controller/kubernetes/wait.ts';
import { enrolmentLabel } from '../../controller/translate/letting-go.ts';
import type { NodesPage } from '../../mesh/node-report/nodes-page.ts';
import type { Clock } from '../../mesh/runtime/clock.ts';
import { type Client, orMissing } from './kube-objects.ts';

export interface LetGoOptions {
  readonly client: Client;
  readonly clock: Clock;
  readonly namespace: string;
  readonly readPage: () => Promise<NodesPage | { readonly missing: string }>;
}

const pollMs = 500;
const patienceMs = 30_000;

/** Undefined when every node that reports has let its pods go; else why that is not known. Rejects with KubeError. */
export async function letPodsGo(options: LetGoOptions): Promise<string | undefined> {
  const { clock, readPage } = options;
  await setEnrolment(options, 'off');
  const { signal } = new AbortController();
  const deadline = clock.monotonic() + patienceMs;
  for (;;) {
    const page = await readPage();
    if ('missing' in page) return page.missing;
    const held = page.nodes.filter(({ state, pods }) => state === 'reporting' && pods.length > 0);
    if (held.length === 0) return undefined;
    if (clock.monotonic() > deadline) return `pods are held on ${held.map(({ node }) => node).join(', ')}`;
    await waitFor(clock, pollMs, signal);
  }
}

/** Pods are in the mesh by their labels again. No error if the namespace is gone. */
export async function takeBack(options: Pick<LetGoOptions, 'client' | 'namespace'>): Promise<void> {
  await setEnrolment(options, null);
}

async function setEnrolment(
  { client, namespace }: Pick<LetGoOptions, 'client' | 'namespace'>,
  value: 'off' | null,
): Promise<void> {
  const body = { metadata: { labels: { [enrolmentLabel]: value } } };
  const contentType = 'application/merge-patch+json';
  const path = `/api/v1/namespaces/${namespace}`;
  await orMissing(client.request({ method: 'PATCH', path, body, contentType }));
}
