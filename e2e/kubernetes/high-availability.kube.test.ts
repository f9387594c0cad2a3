// Two controllers of one installation, each a process with nothing but its ServiceAccount: both serve and sign with one
// root, one leads; neither the death of the leader nor that of the API server and etcd costs a node anything.

import { X509Certificate } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ControllerProcess } from './controller-process.ts';
import {
  accountKubeconfig,
  applyInstallation,
  type Installation,
  nodeToken,
  printInstallation,
} from './installation.ts';
import { NodeClient } from './node-client.ts';
import { ShopServer, tunnelPod, webIdentity as identity } from './shop-server.ts';

const account = { namespace: 'weft-system', name: 'weft-controller' };
/** Longer than a leader may go without renewing, so that it has given up by then. */
const outageMs = 15_000;

interface Replica {
  readonly controller: ControllerProcess;
  readonly node: NodeClient;
}

let shop: ShopServer;
let installation: Installation;
let replicas: Replica[] = [];

beforeAll(async () => {
  shop = await ShopServer.start();
  const { server } = shop;
  installation = await printInstallation('--ha', '--image', 'registry.example/weft:1');
  await applyInstallation(server, installation);
  await shop.open();
  const kubeconfig = await accountKubeconfig(server, account);
  const start = () => ControllerProcess.start({ kubeconfig, args: installation.args });
  const controllers = await Promise.all([start(), start()]);
  const token = await nodeToken(server, tunnelPod);
  for (const controller of controllers) {
    const node = new NodeClient({ port: controller.grpcPort, roots: await controller.roots(), token });
    replicas.push({ controller, node });
  }
});
afterAll(async () => {
  for (const { node, controller } of replicas) {
    node.close();
    await controller.stop({ now: true });
  }
  replicas = [];
  await shop?.close();
});

describe('two replicas', () => {
  it('both serve every node and sign with the one root', async () => {
    await expect.poll(() => replicas.every(({ node }) => node.synced), { timeout: 20_000 }).toBe(true);
    const [first, second] = replicas as [Replica, Replica];
    expect(await second.controller.roots()).toBe(await first.controller.roots());
    const root = new X509Certificate(await first.controller.roots());
    for (const { node } of replicas) {
      expect(node.hasWorkload('web')).toBe(true);
      const [leaf = ''] = await node.sign(identity);
      expect(new X509Certificate(leaf).verify(root.publicKey)).toBe(true);
    }
  });

  it('have one leader, which writes the statuses', async () => {
    await expect.poll(leaders, { timeout: 20_000 }).toHaveLength(1);
    await writePolicy('first');
    await expectStatus('first');
  });
});

describe('while API server and etcd are away', () => {
  it('no node loses its stream, certificates are signed, and everything goes on afterwards', async () => {
    await shop.server.stopServer({ now: true });
    await shop.server.stopEtcd();
    const until = performance.now() + outageMs;
    let signed = 0;
    try {
      while (performance.now() < until) {
        for (const { node } of replicas) {
          expect((await node.sign(identity))[0]).toContain('BEGIN CERTIFICATE');
          signed += 1;
        }
        await delay(500);
      }
      // A leader that cannot renew stops before another could take over.
      await expect.poll(leaders, { timeout: 10_000 }).toEqual([]);
    } finally {
      shop.server.startEtcd();
      await shop.server.startServer();
    }
    expect(signed).toBeGreaterThan(2);
    expect(replicas.flatMap(({ node }) => node.lost)).toEqual([]);
    expect(replicas.every(({ controller }) => controller.running)).toBe(true);
    await writePolicy('after-outage');
    const told = () => replicas.every(({ node }) => node.policies.has('shop/after-outage'));
    await expect.poll(told, { timeout: 60_000 }).toBe(true);
    await expectStatus('after-outage');
    expect(await leaders()).toHaveLength(1);
    expect(replicas.flatMap(({ node }) => node.lost)).toEqual([]);
  }, 150_000);
});

describe('when the leader is killed', () => {
  it('the other takes over the lease and the statuses, and its nodes notice nothing', async () => {
    await expect.poll(leaders, { timeout: 20_000 }).toHaveLength(1);
    const [leader] = await leaders();
    const other = replicas.find((replica) => replica !== leader) as Replica;
    const before = await holder();
    leader?.node.close();
    await leader?.controller.stop({ now: true });
    await writePolicy('after-death');
    await expect.poll(() => other.node.policies.has('shop/after-death'), { timeout: 20_000 }).toBe(true);
    expect((await other.node.sign(identity))[0]).toContain('BEGIN CERTIFICATE');
    await expectStatus('after-death');
    expect(await holder()).not.toBe(before);
    expect(await leaders()).toEqual([other]);
    expect(other.node.lost).toEqual([]);
  }, 90_000);
});

/** Replicas that run and whose log says so last. */
async function leaders(): Promise<readonly Replica[]> {
  const found: Replica[] = [];
  for (const replica of replicas) {
    const said = (await replica.controller.messages()).filter((message) =>
      /^(no longer )?leading$/.test(message),
    );
    if (replica.controller.running && said.at(-1) === 'leading') found.push(replica);
  }
  return found;
}

async function holder(): Promise<string> {
  const path = '/apis/coordination.k8s.io/v1/namespaces/weft-system/leases/weft-controller';
  return (await shop.client.request<{ spec: { holderIdentity: string } }>({ path })).spec.holderIdentity;
}

async function writePolicy(name: string): Promise<void> {
  await shop.writer.put({
    apiVersion: 'weft.dev/v1alpha1',
    kind: 'AuthorizationPolicy',
    metadata: { name, namespace: 'shop' },
    spec: { rules: [{ from: [{ source: { namespaces: ['shop'] } }] }] },
  });
}

async function expectStatus(name: string): Promise<void> {
  const args = [
    'get',
    'authorizationpolicy',
    name,
    '-n',
    'shop',
    '-o',
    'jsonpath={.status.conditions[*].type}',
  ];
  await expect.poll(() => shop.server.kubectlOk(args), { timeout: 40_000 }).toContain('Accepted');
}
