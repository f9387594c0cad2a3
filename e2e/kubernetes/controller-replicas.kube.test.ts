// Several controllers on a real API server: one leads, writes statuses and tells events once; all share one root.

import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { applyOwnDefinitions } from './definitions.ts';
import { rootOf, RunningControllers } from './running-controllers.ts';
import { ShopServer } from './shop-server.ts';

let shop: ShopServer;
let controllers: RunningControllers;

beforeAll(async () => {
  shop = await ShopServer.start();
  await applyOwnDefinitions(shop.server);
  await shop.open();
  controllers = new RunningControllers(shop);
});
afterEach(async () => await controllers.stop());
afterAll(async () => await shop.close());

describe('events', () => {
  it('tell what an operator must see, once, on the object it is about', async () => {
    const first = await controllers.start();
    await shop.writer.put({
      apiVersion: 'v1',
      kind: 'Namespace',
      metadata: { name: 'typo', labels: { 'weft.dev/mode': 'ambiant' } },
    });
    const describe = () => shop.server.kubectlOk(['describe', 'namespace', 'typo']);
    const events = () =>
      shop.server.kubectlOk(['get', 'events', '-A', '--field-selector', 'reason=UnknownMode', '-o', 'name']);
    await expect.poll(events, { timeout: 20_000 }).toMatch(/^event\/typo\.[0-9a-f]+\n$/);
    expect(await shop.server.kubectlOk(['get', 'events', '-A'])).toContain(
      '"ambiant" is neither "ambient" nor "none"',
    );
    expect(await describe()).toContain('ambiant');
    await controllers.start();
    await first.controller.stop();
    await expect.poll(() => controllers.leader(), { timeout: 30_000 }).not.toBe('');
    expect((await events()).trim().split('\n')).toHaveLength(1);
  });
});

describe('replicas', () => {
  it('elect one leader, and another as soon as that one stops', async () => {
    const first = await controllers.start();
    await expect.poll(() => controllers.leader(), { timeout: 20_000 }).not.toBe('');
    const before = await controllers.leader();
    await controllers.start();
    await first.controller.stop();
    await expect
      .poll(async () => (await controllers.leader()) !== '' && (await controllers.leader()) !== before, {
        timeout: 20_000,
      })
      .toBe(true);
    const of = { apiVersion: 'weft.dev/v1alpha1', kind: 'PeerAuthentication' };
    const named = { name: 'after', namespace: 'shop' };
    await shop.writer.put({ ...of, metadata: named, spec: {} });
    const types = async () => {
      const { status } = await shop.writer.get<{ status?: { conditions?: { type: string }[] } }>({
        ...of,
        ...named,
      });
      return status?.conditions?.map(({ type }) => type) ?? [];
    };
    await expect.poll(types, { timeout: 30_000 }).toContain('Accepted');
  });

  it('that start at once share one root, kept in a secret', async () => {
    await shop.client
      .request({ method: 'DELETE', path: '/api/v1/namespaces/weft-system/secrets/weft-ca' })
      .catch(() => {});
    const [first, second] = await Promise.all([controllers.start(), controllers.start()]);
    expect(await rootOf(second)).toBe(await rootOf(first));
    const third = await controllers.start();
    expect(await rootOf(third)).toBe(await rootOf(first));
  });
});
