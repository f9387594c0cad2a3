// The mesh profile's world in a cluster: two versions of the echo server on different nodes behind Services, a caller in
// their namespace `shop` and one in `buyers`, a waypoint of two pods for `shop`. The lab's counterpart is
// e2e/waypoint/echo-mesh.ts.

import { expect, vi } from 'vitest';
import type { Cluster } from '../../cluster/cluster.ts';
import type { Kubectl } from '../../cluster/kubectl.ts';
import type { BatchOptions } from '../../waypoint/caller.ts';
import type { Answer, BatchAnswers, Call } from '../../waypoint/caller-main.ts';
import { echoServiceObject, echoServices } from '../../waypoint/echo-service.ts';
import type { BatchCaller, Callers } from '../../waypoint/profile-check.ts';
import { namesOf, routesInForce } from '../../waypoint/routes-in-force.ts';
import { installWaypoint } from '../gateway-api.ts';
import { adminDump, capturedPods } from '../node-tunnels.ts';
import { askInPod } from '../pod-agent.ts';
import { profileCommand, profileImageName } from './profile-image.ts';

const callerUrl = 'http://127.0.0.1:9501/';
const enrolled = { 'weft.dev/mode': 'ambient' };

class PodCaller implements BatchCaller {
  readonly #kubectl: Kubectl;
  readonly #pod: string;

  constructor(kubectl: Kubectl, pod: string) {
    this.#kubectl = kubectl;
    this.#pod = pod;
  }

  async batch(
    calls: readonly Call[],
    { concurrency = 4, ...options }: BatchOptions,
  ): Promise<readonly (readonly Answer[])[]> {
    const question = { sequence: 0, calls, concurrency, ...options };
    const asked = { pod: this.#pod, url: callerUrl, question };
    return (await askInPod<BatchAnswers>(this.#kubectl, asked)).answers;
  }
}

export class ProfileWorld {
  readonly callers: Callers;
  readonly #cluster: Cluster;
  #applied: readonly object[] = [];

  constructor(cluster: Cluster) {
    this.#cluster = cluster;
    const { kubectl } = cluster;
    this.callers = {
      shop: new PodCaller(kubectl, 'shop/client'),
      buyers: new PodCaller(kubectl, 'buyers/buyer'),
    };
  }

  /** Resolves when both callers are led through the waypoint. */
  async create(): Promise<void> {
    const { kubectl, nodes } = this.#cluster;
    const [first = '', second = first] = nodes;
    const objects = [
      namespaceObject('shop', { ...enrolled, 'weft.dev/waypoint': 'gate' }),
      namespaceObject('buyers', enrolled),
      ...echoServices.map(echoServiceObject),
      pod('shop', { name: 'client', node: first }),
      pod('buyers', { name: 'buyer', node: second }),
      pod('shop', { name: 'echo-v1', node: first, version: 'v1' }),
      pod('shop', { name: 'echo-v2', node: second, version: 'v2' }),
    ];
    await kubectl.apply(objects.map((object) => JSON.stringify(object)).join('\n---\n'));
    await installWaypoint(this.#cluster, 'shop', { replicas: nodes.length });
    for (const namespace of ['shop', 'buyers'])
      await kubectl.ok(['wait', '-n', namespace, '--for=condition=Ready', 'pod', '--all', '--timeout=60s']);
    const ours = ['client', 'echo-v1', 'echo-v2'];
    const captured = async () =>
      expect(await capturedPods(this.#cluster, 'shop')).toEqual(expect.arrayContaining(ours));
    await vi.waitFor(captured, { timeout: 20_000 });
    for (const caller of Object.values(this.callers)) await untilLed(caller);
  }

  async remove(): Promise<void> {
    await this.#cluster.kubectl.ok(['delete', 'namespace', 'shop', 'buyers', '--wait=false']);
  }

  /** Addresses of the pod echo-v2. */
  async addresses(): Promise<readonly string[]> {
    const path = 'jsonpath={.status.podIPs[*].ip}';
    return (await this.#cluster.kubectl.ok(['get', 'pod', 'echo-v2', '-n', 'shop', '-o', path])).split(' ');
  }

  /** These and no others; they are in force in every waypoint when this resolves. */
  async route(routes: readonly object[]): Promise<void> {
    const { kubectl } = this.#cluster;
    const old = asList(this.#applied.filter((each) => !routes.includes(each)));
    if (old !== undefined) await kubectl.ok(['delete', '-f', '-', '--ignore-not-found'], { input: old });
    const fresh = asList(routes);
    if (fresh !== undefined) await kubectl.apply(fresh);
    this.#applied = routes;
    const selector = 'gateway.networking.k8s.io/gateway-name=gate';
    const names = (await kubectl.ok(['get', 'pods', '-n', 'shop', '-l', selector, '-o', 'name'])).trim();
    for (const name of names.split('\n')) {
      const inForce = async () => routesInForce(await adminDump(kubectl, `shop/${name}`));
      await expect.poll(inForce, { timeout: 20_000, interval: 100 }).toEqual(namesOf(routes));
    }
  }
}

function asList(items: readonly object[]): string | undefined {
  return items.length === 0 ? undefined : JSON.stringify({ apiVersion: 'v1', kind: 'List', items });
}

/** The waypoint says so by a header of its own. */
async function untilLed(caller: BatchCaller): Promise<void> {
  const led = async () => {
    const calls = [{ host: 'echo-v1.shop', port: 80, path: '/' }];
    const [[answer] = []] = await caller.batch(calls, { times: 1, connections: 'new' });
    expect(answer?.body).toContain('"x-request-id"');
  };
  await vi.waitFor(led, { timeout: 20_000 });
}

function namespaceObject(name: string, labels: object): object {
  return { apiVersion: 'v1', kind: 'Namespace', metadata: { name, labels } };
}

/** With a version a server, else a caller. */
function pod(
  namespace: string,
  { name, node, version }: { readonly name: string; readonly node: string; readonly version?: string },
): object {
  const labels = version === undefined ? { app: name } : { app: 'echo', version };
  const command = profileCommand(version === undefined ? 'caller-server-main' : 'echo-main');
  const container = { name: 'main', image: profileImageName, command };
  const startupProbe = { exec: { command: ['/bin/wget', '-qO-', callerUrl] }, periodSeconds: 1 };
  const readinessProbe = { httpGet: { path: '/', port: 8080 }, periodSeconds: 1 };
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace, labels },
    spec: {
      nodeName: node,
      terminationGracePeriodSeconds: 0,
      containers: [
        version === undefined
          ? { ...container, startupProbe }
          : { ...container, args: ['--pod', name], readinessProbe },
      ],
    },
  };
}
