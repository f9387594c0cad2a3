// A namespace with the test application: Deployment and Service `web` with a replica on every node, and a pod
// `client-NODE` on each to call from.

import type { Cluster } from '../cluster/cluster.ts';
import type { AgentCaller, HttpRequest } from '../lab/agent-protocol.ts';
import { appDeployment, appService, clientPod } from './app-manifests.ts';
import { PodAgent } from './pod-agent.ts';

export interface Answer {
  /** Who answered. */
  readonly pod: string;
  readonly node: string;
  /** Address of the caller as the server saw it. */
  readonly peer: string;
  readonly headers: Readonly<Record<string, string>>;
}

/** What one call came to: an HTTP answer, or the code of the error. */
export interface Outcome {
  readonly status?: number;
  readonly body?: string;
  readonly error?: string;
}

export interface AppOptions {
  readonly labels?: Readonly<Record<string, string>>;
}

export interface AppNamespace {
  readonly name: string;
  /** Resolves when every pod is ready. */
  create(options?: AppOptions): Promise<void>;
  label(label: string): Promise<void>;
  /** Resolves when the API server has begun with it. */
  remove(): Promise<void>;
  /** In the client of a node. */
  agent(node: string): AgentCaller;
  /** `count` calls, each on a connection of its own, from the client of a node. */
  outcomes(node: string, url: string, count?: number): Promise<readonly Outcome[]>;
  /** The same; throws unless all were answered with 200. */
  callFrom(node: string, url: string, count?: number): Promise<readonly Answer[]>;
  clientAddress(node: string): Promise<string>;
  /** Sorted. */
  podNames(): Promise<readonly string[]>;
}

const callTimeoutMs = 5_000;

export function appNamespace({ kubectl, nodes }: Cluster, name: string): AppNamespace {
  const agents = new Map(nodes.map((node) => [node, new PodAgent(kubectl, `${name}/client-${node}`)]));
  const agent: AppNamespace['agent'] = (node) => {
    const found = agents.get(node);
    if (found === undefined) throw new Error(`This cluster has no node "${node}"`);
    return found;
  };
  const outcomes: AppNamespace['outcomes'] = async (node, url, count = 1) =>
    await agent(node).call('httpOutcomes', { ...requestOf(url), count, timeoutMs: callTimeoutMs });
  return {
    name,
    async create({ labels = {} } = {}) {
      // What an earlier test of a held cluster left.
      await kubectl.ok(['wait', '--for=delete', `namespace/${name}`, '--timeout=60s']);
      const namespace = { apiVersion: 'v1', kind: 'Namespace', metadata: { name, labels } };
      const items = [
        namespace,
        appDeployment(name, { replicas: nodes.length }),
        appService({ name: 'web', namespace: name }),
        ...nodes.map((node) => clientPod({ name: `client-${node}`, namespace: name }, node)),
      ];
      await kubectl.apply(JSON.stringify({ apiVersion: 'v1', kind: 'List', items }));
      await kubectl.rolledOut(name, 'deployment/web');
      await kubectl.ok(['wait', '-n', name, '--for=condition=Ready', 'pod', '--all', '--timeout=60s']);
    },
    label: async (label) => void (await kubectl.ok(['label', 'namespace', name, '--overwrite', label])),
    async remove() {
      await kubectl.ok(['delete', 'namespace', name, '--ignore-not-found', '--wait=false']);
    },
    agent,
    outcomes,
    async callFrom(node, url, count = 1) {
      return (await outcomes(node, url, count)).map((outcome) => {
        if (outcome.status !== 200)
          throw new Error(`Call of ${url} from ${node}: ${JSON.stringify(outcome)}`);
        return JSON.parse(outcome.body ?? '') as Answer;
      });
    },
    clientAddress: async (node) =>
      await kubectl.ok(['get', 'pod', '-n', name, `client-${node}`, '-o', 'jsonpath={.status.podIP}']),
    async podNames() {
      const { items } = await kubectl.json<{ items: { metadata: { name: string } }[] }>([
        'get',
        'pods',
        '-n',
        name,
      ]);
      return items.map(({ metadata }) => metadata.name).toSorted();
    },
  };
}

function requestOf(url: string): HttpRequest {
  const { hostname, port, pathname, search } = new URL(url);
  const host = hostname.replace(/^\[(.*)\]$/, '$1');
  return { host, port: port === '' ? 80 : Number(port), path: `${pathname}${search}` };
}
