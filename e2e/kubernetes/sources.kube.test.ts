// One table of scenarios over both sources: what a directory of manifests says and what a cluster with the same objects
// says must come out as the same resources.

import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { KubeClient } from '../../controller/kubernetes/kube-client.ts';
import type { KindName, Resources } from '../../controller/resources/resources.ts';
import { ClusterSource } from '../../controller/source/cluster-source.ts';
import { DirectorySource } from '../../controller/source/directory-source.ts';
import type { ResourceSource } from '../../controller/source/resource-source.ts';
import { translate } from '../../controller/translate/translate.ts';
import { systemClock } from '../../mesh/runtime/clock.ts';
import { createLogger } from '../../mesh/runtime/logger.ts';
import { ApiServer } from './api-server.ts';
import { applyOwnDefinitions } from './definitions.ts';
import { stateRoot } from './isolation.ts';
import { type Address, type Manifest, ObjectWriter } from './object-writer.ts';
import { ResourceRecorder } from './resource-recorder.ts';

const logger = createLogger({ component: 'test', level: 'silent' });
const own = 'weft.dev/v1alpha1';

/** Where a scenario writes its objects. */
interface World {
  open(recorder: ResourceRecorder): Promise<ResourceSource>;
  put(object: Manifest): Promise<void>;
  remove(address: Address): Promise<void>;
}

const pod = (name: string, ip: string, labels: Record<string, string> = {}): Manifest => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name, namespace: 'shop', labels: { app: name, ...labels } },
  spec: {
    nodeName: 'node-1',
    serviceAccountName: 'web',
    containers: [
      { name: 'main', image: 'x', ports: [{ name: 'http', containerPort: 8080, protocol: 'TCP' }] },
    ],
  },
  status: { phase: 'Running', podIP: ip, podIPs: [{ ip }], conditions: [{ type: 'Ready', status: 'True' }] },
});
const base: readonly Manifest[] = [
  { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'shop', labels: { 'weft.dev/mode': 'ambient' } } },
  {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name: 'node-1', labels: { 'topology.kubernetes.io/zone': 'a' } },
  },
  { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: 'web', namespace: 'shop' } },
  pod('web', '10.1.0.1'),
];
const service: Manifest = {
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name: 'web', namespace: 'shop' },
  spec: {
    clusterIP: '10.96.0.77',
    clusterIPs: ['10.96.0.77'],
    ipFamilies: ['IPv4'],
    selector: { app: 'web' },
    ports: [{ name: 'http', port: 80, protocol: 'TCP', targetPort: 'http' }],
  },
};
const policy = (spec: object): Manifest => ({
  apiVersion: own,
  kind: 'AuthorizationPolicy',
  metadata: { name: 'web', namespace: 'shop' },
  spec,
});

interface Scenario {
  readonly title: string;
  readonly run: (world: World, recorder: ResourceRecorder) => Promise<void>;
  readonly expected: (resources: Resources) => boolean;
}

const scenarios: readonly Scenario[] = [
  {
    title: 'a service with its pods',
    run: (world) => world.put(service),
    expected: ({ Service, Pod }) => Service.has('shop/web') && Pod.has('shop/web'),
  },
  {
    title: 'defaults of our own kinds',
    run: async (world) => {
      await world.put(policy({ rules: [{}] }));
      await world.put({ apiVersion: own, kind: 'MeshConfig', metadata: { name: 'default' }, spec: {} });
    },
    expected: ({ AuthorizationPolicy, MeshConfig }) =>
      AuthorizationPolicy.get('shop/web')?.spec.action === 'ALLOW' && MeshConfig.has('default'),
  },
  {
    title: 'an endpoint slice without a selector',
    run: (world) =>
      world.put({
        apiVersion: 'discovery.k8s.io/v1',
        kind: 'EndpointSlice',
        metadata: { name: 'old', namespace: 'shop', labels: { 'kubernetes.io/service-name': 'old' } },
        addressType: 'IPv4',
        endpoints: [{ addresses: ['10.9.9.9'], conditions: { ready: true } }],
        ports: [{ name: 'http', port: 80, protocol: 'TCP' }],
      }),
    expected: ({ EndpointSlice }) => EndpointSlice.has('shop/old'),
  },
  {
    title: 'an object that is changed, then deleted',
    run: async (world, recorder) => {
      await world.put(policy({ action: 'DENY', rules: [{}] }));
      await recorder.until('the policy', ({ AuthorizationPolicy }) => AuthorizationPolicy.has('shop/web'));
      await world.put(policy({ action: 'AUDIT', rules: [{}] }));
      await recorder.until(
        'the change',
        ({ AuthorizationPolicy }) => AuthorizationPolicy.get('shop/web')?.spec.action === 'AUDIT',
      );
      await world.remove({ apiVersion: own, kind: 'AuthorizationPolicy', name: 'web', namespace: 'shop' });
    },
    expected: ({ AuthorizationPolicy }) => AuthorizationPolicy.size === 0,
  },
  {
    title: 'an object deleted and made again with the same name',
    run: async (world) => {
      await world.put(policy({ action: 'DENY', rules: [{}] }));
      await world.remove({ apiVersion: own, kind: 'AuthorizationPolicy', name: 'web', namespace: 'shop' });
      await world.put(policy({ action: 'ALLOW', rules: [{ from: [{ source: { namespaces: ['shop'] } }] }] }));
    },
    expected: ({ AuthorizationPolicy }) => AuthorizationPolicy.get('shop/web')?.spec.action === 'ALLOW',
  },
  {
    title: 'a label that flaps',
    run: async (world) => {
      for (const mode of ['none', 'ambient', 'none', 'ambient', 'none']) {
        await world.put(pod('web', '10.1.0.1', { 'weft.dev/mode': mode }));
      }
    },
    expected: ({ Pod }) => Pod.get('shop/web')?.metadata.labels['weft.dev/mode'] === 'none',
  },
  {
    title: 'an annotation in use, among others',
    run: (world) =>
      world.put({
        ...policy({ rules: [{}] }),
        metadata: {
          name: 'web',
          namespace: 'shop',
          annotations: { 'weft.dev/dry-run': 'true', 'example.com/note': 'x' },
        },
      }),
    expected: ({ AuthorizationPolicy }) => AuthorizationPolicy.has('shop/web'),
  },
];

let server: ApiServer;
let client: KubeClient;
let writer: ObjectWriter;

beforeAll(async () => {
  server = await ApiServer.start();
  client = KubeClient.fromFile(server.kubeconfig, { clock: systemClock });
  writer = new ObjectWriter(client);
  await applyOwnDefinitions(server);
});
afterAll(async () => {
  client.close();
  await server.close();
});

const cleanups: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

describe('DirectorySource and ClusterSource', () => {
  it.each(scenarios)('agree on $title', async ({ run, expected }) => {
    const results: unknown[] = [];
    for (const world of [await directoryWorld(), clusterWorld()]) {
      const recorder = new ResourceRecorder();
      for (const object of base) await world.put(object);
      const source = await world.open(recorder);
      cleanups.push(() => source.close());
      await source.start();
      await run(world, recorder);
      await recorder.until('what the scenario leads to', expected);
      expect(recorder.problems).toEqual([]);
      results.push(comparable(recorder.resources));
    }
    expect(results[1]).toEqual(results[0]);
  });

  it('agree on the model', async () => {
    const models: unknown[] = [];
    for (const world of [await directoryWorld(), clusterWorld()]) {
      const recorder = new ResourceRecorder();
      for (const object of [...base, service, policy({ rules: [{}] })]) await world.put(object);
      const source = await world.open(recorder);
      cleanups.push(() => source.close());
      await source.start();
      const { model } = translate(recorder.resources, { clusterId: 'test', standalone: false });
      // The API server has a Service of its own.
      const services = [...model.services].filter(([key]) => !key.startsWith('default/'));
      // A pod's entry for its node goes by the uid that only an API server gives.
      models.push({ ...model, services: new Map(services), pods: new Map() });
    }
    expect(models[1]).toEqual(models[0]);
  });
});

async function directoryWorld(): Promise<World> {
  const directory = await mkdtemp(join(stateRoot(), 'manifests-'));
  await mkdir(join(directory, 'config'));
  cleanups.push(() => rm(directory, { recursive: true, force: true }));
  const file = (kind: string, namespace: string | undefined, name: string): string =>
    join(directory, 'config', `${kind}-${namespace ?? ''}-${name}.yaml`);
  return {
    open: async (recorder) =>
      new DirectorySource({ directory: join(directory, 'config'), clock: systemClock, logger }, recorder),
    put: async (object) => {
      const { name, namespace } = object.metadata;
      await writeFile(file(object.kind, namespace, name), stringify(object));
    },
    remove: async ({ kind, name, namespace }) => {
      await rm(file(kind, namespace, name));
      expect(await readdir(join(directory, 'config'))).not.toContain(`${kind}-${namespace}-${name}.yaml`);
    },
  };
}

function clusterWorld(): World {
  const written = new Map<string, Address>();
  cleanups.push(async () => {
    for (const address of [...written.values()].reverse()) {
      // Nothing empties namespaces here, so they stay; their objects go.
      if (address.kind !== 'Namespace') await writer.delete(address).catch(() => {});
    }
  });
  return {
    open: async (recorder) => new ClusterSource({ client, clock: systemClock, logger }, recorder),
    put: async (object) => {
      const { apiVersion, kind, metadata } = object;
      const { name, namespace } = metadata;
      const address = { apiVersion, kind, name, ...(namespace === undefined ? {} : { namespace }) };
      written.set(`${kind}/${namespace}/${name}`, address);
      await writer.put(object);
    },
    remove: (address) => writer.delete(address),
  };
}

/** Without what only an API server adds: times, generations, uids, its own namespaces, its own labels. */
function comparable(resources: Resources): unknown {
  const kinds: KindName[] = [
    'Node',
    'Pod',
    'Service',
    'ServiceAccount',
    'EndpointSlice',
    'AuthorizationPolicy',
    'MeshConfig',
  ];
  return kinds.map((kind) =>
    [...resources[kind]]
      .filter(([key]) => kind === 'MeshConfig' || kind === 'Node' || key.startsWith('shop/'))
      .map(([key, object]) => {
        const { creationTimestamp: _time, generation: _generation, uid: _uid, ...metadata } = object.metadata;
        return [key, { ...object, metadata }];
      }),
  );
}
