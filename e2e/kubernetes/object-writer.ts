// Writes manifests to an API server as a cluster's own parts would: the object by server-side apply and its status
// through the status subresource, which a plain apply does not reach.

import { parseAllDocuments } from 'yaml';
import { discoverKinds } from '../../controller/kubernetes/api-discovery.ts';
import type { KubeClient } from '../../controller/kubernetes/kube-client.ts';
import { RigError } from './rig-error.ts';

export interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly [field: string]: unknown;
  };
  readonly status?: unknown;
  readonly [field: string]: unknown;
}

export type Address = Pick<Manifest, 'apiVersion' | 'kind'> & {
  readonly name: string;
  readonly namespace?: string;
};

export class ObjectWriter {
  readonly #client: KubeClient;

  constructor(client: KubeClient) {
    this.#client = client;
  }

  /** Every document of a YAML text, in order. */
  async apply(text: string): Promise<void> {
    for (const document of parseAllDocuments(text)) await this.put(document.toJS() as Manifest);
  }

  async put({ status, ...object }: Manifest): Promise<void> {
    const { apiVersion, kind, metadata } = object;
    const path = await this.path({ apiVersion, kind, name: metadata.name, ...namespaceOf(metadata) });
    const apply = async (to: string, body: unknown): Promise<void> => {
      const query = 'fieldManager=test&force=true';
      const contentType = 'application/apply-patch+yaml';
      await this.#client.request({ method: 'PATCH', path: `${to}?${query}`, body, contentType });
    };
    await apply(path, object);
    if (status !== undefined) {
      const { name, namespace } = metadata;
      const body = {
        apiVersion,
        kind,
        metadata: namespace === undefined ? { name } : { name, namespace },
        status,
      };
      await apply(`${path}/status`, body);
    }
  }

  /** At once: there is no kubelet that would end a pod in its own time. */
  async delete(address: Address): Promise<void> {
    const path = await this.path(address);
    await this.#client.request({ method: 'DELETE', path: `${path}?gracePeriodSeconds=0` });
  }

  async get<T = Manifest>(address: Address): Promise<T> {
    return await this.#client.request<T>({ path: await this.path(address) });
  }

  async path({ apiVersion, kind, name, namespace }: Address): Promise<string> {
    const [group, version] = apiVersion.includes('/') ? apiVersion.split('/') : ['', apiVersion];
    const wanted = { kind, group: group ?? '', versions: [version ?? ''] };
    const served = (await discoverKinds(this.#client, [wanted], new AbortController().signal)).get(kind);
    if (served === undefined)
      throw new RigError('COMMAND_FAILED', `Kind ${kind} of ${apiVersion} is not served`);
    const base = served.path.slice(0, -served.resource.length);
    const inNamespace = namespace === undefined ? '' : `namespaces/${namespace}/`;
    return `${base}${inNamespace}${served.resource}/${name}`;
  }
}

function namespaceOf({ namespace }: Manifest['metadata']): { namespace?: string } {
  return namespace === undefined ? {} : { namespace };
}
