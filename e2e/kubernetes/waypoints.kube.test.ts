// Waypoints on a real API server: the controller runs them, keeps them up and touches nobody else's objects, and writes
// the Gateway API's statuses beside those of other controllers.

import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { Controller } from '../../controller/app.ts';
import { parseControllerConfig } from '../../controller/config.ts';
import { KubeClient } from '../../controller/kubernetes/kube-client.ts';
import { systemClock } from '../../mesh/runtime/clock.ts';
import { ApiServer } from './api-server.ts';
import { applyDefinitions, applyOwnDefinitions } from './definitions.ts';
import { gatewayCrds } from './isolation.ts';
import { ObjectWriter } from './object-writer.ts';

const crds = gatewayCrds();
const image = 'registry.example/weft:1';
const gatewayApi = 'gateway.networking.k8s.io/v1';
const shop = { namespace: 'shop' };

let server: ApiServer;
let client: KubeClient;
let writer: ObjectWriter;
const running: Controller[] = [];

beforeAll(async () => {
  if (crds === undefined) return;
  server = await ApiServer.start({});
  client = KubeClient.fromFile(server.kubeconfig, { clock: systemClock });
  writer = new ObjectWriter(client);
  await applyOwnDefinitions(server);
  await applyDefinitions(server, join(crds, 'experimental'));
  await writer.apply(`
{ apiVersion: v1, kind: Namespace, metadata: { name: weft-system } }
---
{ apiVersion: v1, kind: Namespace, metadata: { name: shop, labels: { weft.dev/waypoint: wp } } }
---
{ apiVersion: ${gatewayApi}, kind: GatewayClass, metadata: { name: weft-waypoint }, spec: { controllerName: weft.dev/controller } }
---
{ apiVersion: ${gatewayApi}, kind: Gateway, metadata: { name: wp, namespace: shop }, spec: { gatewayClassName: weft-waypoint, listeners: [{ name: mesh, port: 15008, protocol: HBONE }], infrastructure: { parametersRef: { group: "", kind: ConfigMap, name: wp-parameters } } } }
---
{ apiVersion: v1, kind: ConfigMap, metadata: { name: wp-parameters, namespace: shop }, data: { deployment: "spec: { template: { spec: { priorityClassName: system-cluster-critical } } }" } }
---
{ apiVersion: v1, kind: Service, metadata: { name: web, namespace: shop }, spec: { ports: [{ port: 80, name: http }] } }
`);
});
afterEach(async () => {
  for (const controller of running.splice(0)) await controller.stop();
});
afterAll(async () => {
  client?.close();
  await server?.close();
});

async function start(): Promise<Controller> {
  const state = join(server.directory, `state-${randomUUID()}`);
  const parsed = parseControllerConfig({
    kubeconfig: server.kubeconfig,
    state,
    address: '127.0.0.1:0',
    admin: '127.0.0.1:0',
    'log-level': 'silent',
    'waypoint-image': image,
  });
  if (!parsed.ok) throw new Error(parsed.problems.join('\n'));
  const controller = new Controller(parsed.config, { clock: systemClock });
  running.push(controller);
  await controller.start();
  return controller;
}

interface Part {
  readonly controllerName: string;
  readonly conditions?: readonly {
    readonly type: string;
    readonly status: string;
    readonly reason: string;
  }[];
}

async function json<T>(...args: string[]): Promise<T> {
  return JSON.parse(await server.kubectlOk(['get', ...args, '-o', 'json'])) as T;
}

async function routeParts(name: string): Promise<readonly string[]> {
  const { status } = await json<{ status?: { parents?: Part[] } }>('httproute', name, '-n', 'shop');
  return (status?.parents ?? []).flatMap(({ controllerName, conditions = [] }) =>
    conditions.map(({ type, status: value, reason }) => `${controllerName} ${type}=${value} ${reason}`),
  );
}

const route = (name: string, parents: readonly object[]) => ({
  apiVersion: gatewayApi,
  kind: 'HTTPRoute',
  metadata: { name, ...shop },
  spec: { parentRefs: parents, rules: [{ backendRefs: [{ name: 'web', port: 80 }] }] },
});
const web = { group: '', kind: 'Service', name: 'web' };

describe.skipIf(crds === undefined)('a waypoint', () => {
  it('is deployed for its Gateway, with the parameters of its ConfigMap', async () => {
    await start();
    const kinds = [
      'serviceaccount',
      'service',
      'deployment',
      'poddisruptionbudget',
      'horizontalpodautoscaler',
    ];
    for (const kind of kinds) {
      const find = () => server.kubectl(['get', kind, 'wp', '-n', 'shop']).then(({ status }) => status);
      await expect.poll(find, { timeout: 20_000, message: kind }).toBe(0);
    }
    const { spec } = await json<{ spec: { template: { spec: Record<string, never> } } }>(
      'deployment',
      'wp',
      '-n',
      'shop',
    );
    expect(spec.template.spec).toMatchObject({
      priorityClassName: 'system-cluster-critical',
      serviceAccountName: 'wp',
      containers: [{ image }],
    });
    const { data } = await json<{ data: Record<string, string> }>('configmap', 'wp-weft-roots', '-n', 'shop');
    expect(data['root-cert.pem']).toContain('BEGIN CERTIFICATE');
  });

  it('makes pods that the strictest Pod Security Standard admits', async () => {
    const { spec } = await json<{ spec: { template: { spec: object } } }>('deployment', 'wp', '-n', 'shop');
    const labels = { 'pod-security.kubernetes.io/enforce': 'restricted' };
    await writer.put({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'strict', labels } });
    await writer.put({
      apiVersion: 'v1',
      kind: 'ServiceAccount',
      metadata: { name: 'wp', namespace: 'strict' },
    });
    const { priorityClassName: _reserved, ...pod } = spec.template.spec as Record<string, unknown>;
    const metadata = { name: 'wp', namespace: 'strict' };
    await writer.put({ apiVersion: 'v1', kind: 'Pod', metadata, spec: pod });
  });

  it('has the status of a Gateway: addresses, listeners, and that nobody runs it yet', async () => {
    await start();
    const read = async () => {
      const { status } = await json<{
        status: {
          conditions: { type: string; status: string }[];
          addresses?: { type: string; value: string }[];
          listeners?: { name: string; conditions: { type: string; status: string }[] }[];
        };
      }>('gateway', 'wp', '-n', 'shop');
      const { conditions, addresses = [], listeners = [] } = status;
      return [
        ...conditions.map(({ type, status: value }) => `${type}=${value}`),
        ...addresses.map(({ type }) => type),
        ...listeners.map(({ name, conditions: own }) => `${name} ${own.length}`),
      ].sort();
    };
    const expected = ['Accepted=True', 'IPAddress', 'Programmed=False', 'mesh 4'];
    await expect.poll(read, { timeout: 20_000 }).toEqual(expected);
    const features = async () => {
      const { status } = await json<{ status: { supportedFeatures?: { name: string }[] } }>(
        'gatewayclass',
        'weft-waypoint',
      );
      return (status.supportedFeatures ?? []).map(({ name }) => name);
    };
    await expect.poll(features, { timeout: 20_000 }).toContain('Mesh');
  });

  it('is put back when somebody deletes a part of it, and goes by the next leader at the latest', async () => {
    await start();
    await expect
      .poll(async () => (await server.kubectl(['get', 'service', 'wp', '-n', 'shop'])).status, {
        timeout: 20_000,
      })
      .toBe(0);
    await server.kubectlOk(['delete', 'service', 'wp', '-n', 'shop']);
    await running.pop()?.stop();
    await start();
    await expect
      .poll(async () => (await server.kubectl(['get', 'service', 'wp', '-n', 'shop'])).status, {
        timeout: 30_000,
      })
      .toBe(0);
  });

  it('leaves an object of its name alone that is somebody else’s, and says so', async () => {
    await writer.apply(`
{ apiVersion: v1, kind: ServiceAccount, metadata: { name: theirs, namespace: shop, labels: { mine: "yes" } } }
---
{ apiVersion: ${gatewayApi}, kind: Gateway, metadata: { name: theirs, namespace: shop, annotations: { weft.dev/min-replicas: "1", weft.dev/max-replicas: "1" } }, spec: { gatewayClassName: weft-waypoint, listeners: [{ name: mesh, port: 15008, protocol: HBONE }] } }
`);
    await start();
    const message = async () => {
      const { status } = await json<{ status: { conditions: { type: string; message: string }[] } }>(
        'gateway',
        'theirs',
        '-n',
        'shop',
      );
      return status.conditions.find(({ type }) => type === 'Programmed')?.message;
    };
    await expect
      .poll(message, { timeout: 20_000 })
      .toContain("ServiceAccount shop/theirs exists and is not the Gateway's");
    const account = await json<{ metadata: { ownerReferences?: unknown } }>(
      'serviceaccount',
      'theirs',
      '-n',
      'shop',
    );
    expect(account.metadata.ownerReferences).toBeUndefined();
    expect((await server.kubectl(['get', 'hpa', 'theirs', '-n', 'shop'])).status).not.toBe(0);
  });
});

describe.skipIf(crds === undefined)('statuses of routes', () => {
  it('have an entry for each parent of this mesh, beside those of other controllers', async () => {
    await writer.put(route('both', [web, { name: 'edge' }, { ...web, name: 'gone' }]));
    const theirs = {
      parents: [
        {
          parentRef: { name: 'edge' },
          controllerName: 'example.com/other',
          conditions: [
            {
              type: 'Accepted',
              status: 'True',
              reason: 'Accepted',
              message: '',
              lastTransitionTime: '2026-01-01T00:00:00Z',
            },
          ],
        },
      ],
    };
    const patch = JSON.stringify({ status: theirs });
    const args = [
      'patch',
      'httproute',
      'both',
      '-n',
      'shop',
      '--subresource=status',
      '--type=merge',
      '-p',
      patch,
    ];
    await server.kubectlOk(args);
    await start();
    await expect
      .poll(() => routeParts('both'), { timeout: 20_000 })
      .toEqual([
        'example.com/other Accepted=True Accepted',
        'weft.dev/controller Accepted=True Accepted',
        'weft.dev/controller Programmed=True Programmed',
        'weft.dev/controller ResolvedRefs=True ResolvedRefs',
        'weft.dev/controller Accepted=False NoMatchingParent',
        'weft.dev/controller ResolvedRefs=True ResolvedRefs',
      ]);
  });

  it('are taken back when a parent is no longer named', async () => {
    await writer.put(route('leaving', [web]));
    await start();
    await expect.poll(async () => (await routeParts('leaving')).length, { timeout: 20_000 }).toBe(3);
    const patch = JSON.stringify({ spec: { parentRefs: [{ name: 'edge' }] } });
    await server.kubectlOk(['patch', 'httproute', 'leaving', '-n', 'shop', '--type=merge', '-p', patch]);
    await expect.poll(() => routeParts('leaving'), { timeout: 20_000 }).toEqual([]);
  });
});
