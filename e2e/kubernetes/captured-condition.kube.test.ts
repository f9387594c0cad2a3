// The pod condition `weft.dev/Captured` in a real API server: what a node reports gets there by whichever replica leads,
// beside the conditions of others, and goes when the pod leaves the mesh.

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { makeNodeFacts, makePodCapture } from '../../mesh/node-report/fixture.ts';
import type { PodCapture } from '../../mesh/node-report/node-report.ts';
import { type NodesPage, nodesPageSchema } from '../../mesh/node-report/nodes-page.ts';
import { NodeReportClient } from '../../mesh/node-report/report-client.ts';
import { systemClock } from '../../mesh/runtime/clock.ts';
import { createLogger } from '../../mesh/runtime/logger.ts';
import { applyOwnDefinitions } from './definitions.ts';
import { nodeToken } from './installation.ts';
import { rootOf, type Running, RunningControllers } from './running-controllers.ts';
import { ShopServer, tunnelPod } from './shop-server.ts';

interface Condition {
  readonly type: string;
  readonly status: string;
  readonly reason?: string;
}

const wait = { timeout: 30_000 };

let shop: ShopServer;
let controllers: RunningControllers;
let replicas: readonly Running[];
let pods: readonly PodCapture[] = [makePodCapture('web')];
const clients: NodeReportClient[] = [];

beforeAll(async () => {
  shop = await ShopServer.start();
  await applyOwnDefinitions(shop.server);
  await shop.open();
  await patchStatus({ status: { conditions: [{ type: 'Ready', status: 'True' }] } });
  controllers = new RunningControllers(shop);
  replicas = [await controllers.start(), await controllers.start()];
  const token = await nodeToken(shop.server, tunnelPod);
  // As a Service would lead it here and there.
  for (const replica of replicas) {
    const roots = await rootOf(replica);
    const client = new NodeReportClient({
      address: `127.0.0.1:${replica.ports.grpc}`,
      rootCertificates: () => roots,
      token: () => token,
      clusterId: 'Kubernetes',
      read: () => ({ facts: makeNodeFacts(), pods }),
      clock: systemClock,
      logger: createLogger({ component: 'node', level: 'silent' }),
    });
    clients.push(client);
    client.start();
  }
});

afterAll(async () => {
  for (const client of clients) client.close();
  await controllers?.stop();
  await shop?.close();
});

async function patchStatus(body: object): Promise<void> {
  await shop.client.request({
    method: 'PATCH',
    path: '/api/v1/namespaces/shop/pods/web/status',
    contentType: 'application/strategic-merge-patch+json',
    body,
  });
}

async function conditions(): Promise<Record<string, string>> {
  const path = '/api/v1/namespaces/shop/pods/web';
  const { status } = await shop.client.request<{ status: { conditions?: Condition[] } }>({ path });
  return Object.fromEntries(
    (status.conditions ?? []).map(({ type, status: value, reason = '' }) => [type, `${value} ${reason}`]),
  );
}

async function page({ ports }: Running): Promise<NodesPage> {
  const answer = await fetch(`http://127.0.0.1:${ports.admin}/debug/nodes`);
  return nodesPageSchema.parse(await answer.json());
}

function tell(state: Partial<PodCapture>): void {
  pods = [makePodCapture('web', state)];
  for (const client of clients) client.changed();
}

describe('the condition weft.dev/Captured', () => {
  it('says what the node proved, and leaves others alone', async () => {
    await expect.poll(conditions, wait).toEqual({ Ready: 'True ', 'weft.dev/Captured': 'True Captured' });
  });

  it('follows what the node says', async () => {
    tell({ state: 'bypassed', reason: 'HookDetached', message: 'by hand' });
    await expect.poll(conditions, wait).toMatchObject({ 'weft.dev/Captured': 'False HookDetached' });
    tell({});
    await expect.poll(conditions, wait).toMatchObject({ 'weft.dev/Captured': 'True Captured' });
  });

  it('is put right when somebody else writes it', async () => {
    const vandal = { type: 'weft.dev/Captured', status: 'False', reason: 'Vandal' };
    await patchStatus({ status: { conditions: [vandal] } });
    await expect.poll(conditions, wait).toMatchObject({ 'weft.dev/Captured': 'True Captured' });
  });

  it('has its node on the page of the replica that leads, and of no other', async () => {
    const pages = await Promise.all(replicas.map(page));
    const [leader, ...others] = pages.filter(({ leading }) => leading);
    expect(others).toEqual([]);
    expect(leader?.nodes).toMatchObject([
      { node: 'node-1', state: 'reporting', version: '1.2.3', pods: [{ name: 'web', state: 'captured' }] },
    ]);
    expect(Math.abs(leader?.nodes[0]?.clockSkewMs ?? 0)).toBeLessThan(5_000);
    expect(pages.find(({ leading }) => !leading)).toMatchObject({ nodes: [], leader: leader?.leader });
  });

  it('goes when the pod leaves the mesh', async () => {
    await shop.server.kubectlOk(['label', 'pod', 'web', '-n', 'shop', 'weft.dev/mode=none']);
    await expect.poll(conditions, wait).toEqual({ Ready: 'True ' });
  });
});
