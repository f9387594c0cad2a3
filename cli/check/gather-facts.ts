// Asks a cluster for everything that the checks look at: lists of the API server, and the page of the controller that
// leads. What is refused or does not answer is noted and left out; only a cluster that does not answer at all ends it.

import { parse } from 'yaml';
import { z } from 'zod';
import type { KubeClient } from '../../controller/kubernetes/kube-client.ts';
import { KubeError } from '../../controller/kubernetes/kube-error.ts';
import { type NodesPage, nodesPageSchema } from '../../mesh/node-report/nodes-page.ts';
import { version } from '../../mesh/runtime/version.ts';
import type { PageTarget } from '../cluster-access.ts';
import { readDefinitions } from '../install/manifest-files.ts';
import type {
  ClusterFacts,
  DefinitionFact,
  FelixFact,
  GatewayFact,
  NamespaceFact,
  NetworkPolicyFact,
  NodeFact,
  PodFact,
  Unreadable,
  WorkloadFact,
} from './cluster-facts.ts';
import { isControllerPod } from './controller-check.ts';
import { isReady } from './pod-problem.ts';

export interface GatherOptions {
  readonly client: Pick<KubeClient, 'request' | 'server'>;
  /** Of the mesh. */
  readonly namespace: string;
  /** ms since the epoch. */
  readonly now: () => number;
  /** The body of a page on a port of a pod's loopback address. */
  readonly readPage: (target: PageTarget) => Promise<string>;
  /** Our definitions as this version has them, by name. */
  readonly wantedDefinitions: ClusterFacts['wantedDefinitions'];
  readonly signal: AbortSignal;
}

interface ConfigMap {
  readonly data?: Readonly<Record<string, string>>;
}

const pageSize = 500;
const adminPort = 15_014;
const listSchema = z.object({
  items: z.array(z.unknown()).nullable(),
  metadata: z.object({ continue: z.string().optional() }).optional(),
});

/** Rejects with KubeError `UNREACHABLE`, `UNAUTHENTICATED` or `CONFIG` for a cluster that cannot be asked at all. */
export async function gatherFacts(options: GatherOptions): Promise<ClusterFacts> {
  const { client, namespace, now } = options;
  const reader = new Reader(options);
  const serverVersion = await reader.version();
  const apps = `/apis/apps/v1/namespaces/${namespace}`;
  const core = '/api/v1/namespaces';
  const felixPath = '/apis/crd.projectcalico.org/v1/felixconfigurations/default';
  const [definitions, nodes, namespaces, pods, networkPolicies, gateways] = await Promise.all([
    reader.list<DefinitionFact>('/apis/apiextensions.k8s.io/v1/customresourcedefinitions'),
    reader.list<NodeFact>('/api/v1/nodes'),
    reader.list<NamespaceFact>(core),
    reader.list<PodFact>('/api/v1/pods'),
    reader.list<NetworkPolicyFact>('/apis/networking.k8s.io/v1/networkpolicies'),
    reader.list<GatewayFact>('/apis/gateway.networking.k8s.io/v1/gateways'),
  ]);
  const [controller, tunnels, roots, cilium, felix] = await Promise.all([
    reader.one<WorkloadFact>(`${apps}/deployments/weft-controller`),
    reader.one<WorkloadFact>(`${apps}/daemonsets/weft-ztunnel`),
    reader.one<ConfigMap>(`${core}/${namespace}/configmaps/weft-roots`),
    reader.one<ConfigMap>(`${core}/kube-system/configmaps/cilium-config`),
    reader.one<FelixFact>(felixPath),
  ]);
  return {
    now: now(),
    namespace,
    version: version(),
    server: client.server,
    serverVersion,
    unreadable: reader.unreadable,
    wantedDefinitions: options.wantedDefinitions,
    definitions: definitions?.filter(({ spec }) => spec['group'] === 'weft.dev'),
    nodes,
    namespaces,
    pods,
    networkPolicies,
    gateways,
    controller,
    tunnels,
    roots: roots?.data?.['root-cert.pem'],
    ciliumConfig: cilium === undefined ? undefined : (cilium.data ?? {}),
    felix,
    page: await readNodesPage(options, pods),
  };
}

class Reader {
  readonly unreadable: Unreadable[] = [];
  readonly #options: GatherOptions;

  constructor(options: GatherOptions) {
    this.#options = options;
  }

  async version(): Promise<string | undefined> {
    const { gitVersion } = await this.#get<{ gitVersion?: string }>('/version');
    return gitVersion;
  }

  /** All objects of a kind; none where the kind is not served; undefined if they could not be read. */
  async list<T>(path: string): Promise<readonly T[] | undefined> {
    const items: T[] = [];
    let token: string | undefined = '';
    try {
      while (token !== undefined) {
        const query: string = new URLSearchParams({
          limit: `${pageSize}`,
          ...(token !== '' && { continue: token }),
        }).toString();
        const page: z.output<typeof listSchema> = listSchema.parse(await this.#get(`${path}?${query}`));
        items.push(...((page.items ?? []) as T[]));
        token = page.metadata?.continue === '' ? undefined : page.metadata?.continue;
      }
      return items;
    } catch (error) {
      if (error instanceof KubeError && error.code === 'NOT_FOUND') return [];
      return this.#note(`list ${path.split('/').at(-1)} --all-namespaces`, error);
    }
  }

  /** One object; undefined if there is none, or it could not be read. */
  async one<T>(path: string): Promise<T | undefined> {
    try {
      return await this.#get<T>(path);
    } catch (error) {
      if (error instanceof KubeError && error.code === 'NOT_FOUND') return undefined;
      const [name, resource, namespace] = path.split('/').toReversed();
      return this.#note(`get ${resource} ${name} -n ${namespace}`, error);
    }
  }

  async #get<T>(path: string): Promise<T> {
    const { client, signal } = this.#options;
    return await client.request<T>({ path, signal });
  }

  /** Throws what is no refusal of this one request. */
  #note(right: string, error: unknown): undefined {
    if (!(error instanceof KubeError) || ['UNREACHABLE', 'UNAUTHENTICATED', 'CONFIG'].includes(error.code))
      throw error;
    this.unreadable.push({ right, isForbidden: error.code === 'FORBIDDEN', message: error.message });
    return undefined;
  }
}

/** From manifests/crds: a tenth of a second of parsing. */
export function readWantedDefinitions(): ReadonlyMap<string, DefinitionFact> {
  const definitions = [...readDefinitions().values()].map((text) => parse(text) as DefinitionFact);
  return new Map(definitions.map((definition) => [definition.metadata.name, definition]));
}

/** Of the replica that leads; nodes report to it alone, so the others' pages are empty. */
export async function readNodesPage(
  { namespace, readPage }: Pick<GatherOptions, 'namespace' | 'readPage'>,
  pods: readonly PodFact[] | undefined,
): Promise<ClusterFacts['page']> {
  const replicas = (pods ?? []).filter((pod) => isControllerPod(pod, namespace) && isReady(pod));
  let missing = 'no replica of the controller is ready';
  for (const { metadata } of replicas) {
    try {
      const target = { namespace, pod: metadata.name, port: adminPort, path: '/debug/nodes' };
      const page = parsePage(await readPage(target));
      if (page.leading) return page;
      missing = 'no replica of the controller leads yet';
    } catch (error) {
      missing = (error as Error).message;
    }
  }
  return { missing };
}

/** @throws Error for what is no such page, as of another version */
function parsePage(text: string): NodesPage {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new Error(`the controller answered with something that is no JSON: ${text.trim().slice(0, 80)}`, {
      cause,
    });
  }
  const read = nodesPageSchema.safeParse(value);
  if (read.success) return read.data;
  throw new Error(
    `the page has another form than this version reads: ${z.prettifyError(read.error).split('\n')[0]}`,
  );
}
