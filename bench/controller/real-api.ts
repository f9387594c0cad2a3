// A real kube-apiserver with its etcd to write the cluster into, as in e2e/kubernetes. What it costs on the same cores is
// measured along, so its figures are for the whole way from kubectl to a node, not for the controller alone.

import { readFile } from 'node:fs/promises';
import { KubeClient } from '../../controller/kubernetes/kube-client.ts';
import { ApiServer } from '../../e2e/kubernetes/api-server.ts';
import { systemClock } from '../../mesh/runtime/clock.ts';
import type { RawObject } from './mesh-objects.ts';
import type { ObjectApi } from './object-api.ts';

const collections: Readonly<Record<string, string>> = {
  Namespace: '/api/v1/namespaces',
  Node: '/api/v1/nodes',
  Service: '/api/v1/namespaces/*/services',
  Pod: '/api/v1/namespaces/*/pods',
  EndpointSlice: '/apis/discovery.k8s.io/v1/namespaces/*/endpointslices',
};
const parallel = 32;

export class RealApi implements ObjectApi {
  readonly #server: ApiServer;
  readonly #client: KubeClient;

  private constructor(server: ApiServer) {
    this.#server = server;
    this.#client = KubeClient.fromFile(server.kubeconfig, { clock: systemClock });
  }

  /** Only in namespaces of its own (e2e/kubernetes/isolated-run.ts). */
  static async start(): Promise<RealApi> {
    // A thousand service accounts would have to be there before their pods, and nothing here reads them.
    const flags = ['--disable-admission-plugins=ServiceAccount', '--max-mutating-requests-inflight=400'];
    return new RealApi(await ApiServer.start({ flags }));
  }

  async kubeconfig(): Promise<string> {
    return await readFile(this.#server.kubeconfig, 'utf8');
  }

  async fill(objects: readonly RawObject[]): Promise<void> {
    await this.#client.request({
      method: 'POST',
      path: '/api/v1/namespaces',
      body: { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'weft-system' } },
    });
    // What is in a namespace comes after it.
    const isNamespace = ({ kind }: RawObject): boolean => kind === 'Namespace';
    await this.#createAll(objects.filter(isNamespace));
    await this.#createAll(objects.filter((object) => !isNamespace(object)));
  }

  async changePod(pod: RawObject): Promise<void> {
    const { labels } = pod.metadata as { labels?: unknown };
    const contentType = 'application/merge-patch+json';
    const path = `${collectionOf(pod)}/${pod.metadata.name}`;
    await this.#client.request({ method: 'PATCH', path, body: { metadata: { labels } }, contentType });
  }

  async close(): Promise<void> {
    this.#client.close();
    await this.#server.close();
  }

  async #createAll(objects: readonly RawObject[]): Promise<void> {
    let next = 0;
    const work = async (): Promise<void> => {
      for (let i = next++; i < objects.length; i = next++) await this.#create(objects[i] as RawObject);
    };
    await Promise.all(Array.from({ length: parallel }, work));
  }

  async #create(object: RawObject): Promise<void> {
    const path = collectionOf(object);
    await this.#client.request({ method: 'POST', path, body: accepted(object) });
    const { status } = object;
    if (status === undefined) return;
    const contentType = 'application/merge-patch+json';
    const of = `${path}/${object.metadata.name}/status`;
    await this.#client.request({ method: 'PATCH', path: of, body: { status }, contentType });
  }
}

function collectionOf({ kind, metadata }: RawObject): string {
  const path = collections[kind];
  if (path === undefined) throw new Error(`Kind "${kind}" is not written here`);
  return path.replace('*', metadata.namespace ?? '');
}

/** Without what an API server gives itself, and what it would refuse because nobody needs it here. */
export function accepted({ status: _status, ...object }: RawObject): RawObject {
  const { uid: _uid, creationTimestamp: _time, managedFields: _fields, ...metadata } = object.metadata;
  const spec = { ...(object['spec'] as Record<string, unknown> | undefined) };
  if (object.kind === 'Service') {
    delete spec['clusterIP'];
    delete spec['clusterIPs'];
  }
  if (object.kind === 'Pod') {
    delete spec['volumes'];
    const containers = spec['containers'] as Record<string, unknown>[];
    spec['containers'] = containers.map(({ volumeMounts: _mounts, ...container }) => container);
  }
  return { ...object, metadata, ...(object['spec'] !== undefined && { spec }) };
}
