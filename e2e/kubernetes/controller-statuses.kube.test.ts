// The whole controller on a real API server: statuses as kubectl shows them.

import { readFile } from 'node:fs/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { applyOwnDefinitions } from './definitions.ts';
import type { Manifest } from './object-writer.ts';
import { RunningControllers } from './running-controllers.ts';
import { ShopServer, webService } from './shop-server.ts';

interface Condition {
  readonly type: string;
  readonly status: string;
  readonly reason: string;
  readonly message: string;
  readonly observedGeneration: number;
  readonly lastTransitionTime: string;
}

const own = 'weft.dev/v1alpha1';
const inShop = { namespace: 'shop' };

let shop: ShopServer;
let controllers: RunningControllers;

beforeAll(async () => {
  shop = await ShopServer.start({ audit: true });
  await applyOwnDefinitions(shop.server);
  await shop.open();
  await shop.writer.put(webService);
  controllers = new RunningControllers(shop);
});
afterEach(async () => await controllers.stop());
afterAll(async () => await shop.close());

const policy = (kind: string, name: string, spec: object): Manifest => ({
  apiVersion: own,
  kind,
  metadata: { name, ...inShop },
  spec,
});
/** Two objects without a selector would conflict. */
const only = (app: string) => ({ selector: { matchLabels: { app } } });
const target = (name: string) => ({ kind: 'Service', name });

async function conditions(kind: string, name: string): Promise<readonly Condition[]> {
  const object = await shop.writer.get<{ status?: { conditions?: Condition[] } }>({
    apiVersion: own,
    kind,
    name,
    ...inShop,
  });
  return object.status?.conditions ?? [];
}

/** Waits until the conditions read as told, `Type=Status`, in any order. */
async function expectConditions(kind: string, name: string, expected: readonly string[]): Promise<void> {
  const read = async () =>
    (await conditions(kind, name)).map(({ type, status }) => `${type}=${status}`).sort();
  await expect.poll(read, { timeout: 30_000 }).toEqual([...expected].sort());
}

describe('statuses', () => {
  it('tell good objects from those that conflict or refer to nothing', async () => {
    await controllers.start();
    await shop.writer.put(
      policy('AuthorizationPolicy', 'good', { targetRefs: [target('web')], rules: [{}] }),
    );
    await shop.writer.put(
      policy('AuthorizationPolicy', 'lost', { targetRefs: [target('nowhere')], rules: [{}] }),
    );
    await shop.writer.put(policy('TrafficPolicy', 'first', { targetRefs: [target('web')] }));
    await expectConditions('TrafficPolicy', 'first', [
      'Accepted=True',
      'Conflicted=False',
      'Programmed=True',
      'ResolvedRefs=True',
    ]);
    // The API server's times have seconds, and the older one counts.
    await new Promise((resolve) => setTimeout(resolve, 1_100));
    await shop.writer.put(policy('TrafficPolicy', 'second', { targetRefs: [target('web')] }));
    await expectConditions('AuthorizationPolicy', 'good', [
      'Accepted=True',
      'Conflicted=False',
      'Programmed=True',
      'ResolvedRefs=True',
    ]);
    const lost = async () =>
      (await conditions('AuthorizationPolicy', 'lost')).find(({ type }) => type === 'ResolvedRefs');
    await expect.poll(lost, { timeout: 20_000 }).toMatchObject({ status: 'False' });
    expect((await lost())?.message).toContain('nowhere');
    const second = async () =>
      (await conditions('TrafficPolicy', 'second')).find(({ type }) => type === 'Conflicted');
    await expect.poll(second, { timeout: 20_000 }).toMatchObject({ status: 'True' });
    expect((await second())?.message).toContain('first');
    const shown = await shop.server.kubectlOk(['get', 'authorizationpolicy', 'good', '-n', 'shop']);
    expect(shown).toMatch(/good +ALLOW +false +True/);
  });

  it('follow the generation, keep the time of what did not change, and are not written again', async () => {
    await controllers.start();
    await shop.writer.put(
      policy('PeerAuthentication', 'modes', { ...only('modes'), mtls: { mode: 'STRICT' } }),
    );
    const expected = ['Accepted=True', 'Conflicted=False', 'Programmed=True'];
    await expectConditions('PeerAuthentication', 'modes', expected);
    const before = await conditions('PeerAuthentication', 'modes');
    await shop.writer.put(
      policy('PeerAuthentication', 'modes', { ...only('modes'), mtls: { mode: 'PERMISSIVE' } }),
    );
    const generations = async () =>
      (await conditions('PeerAuthentication', 'modes')).map(({ observedGeneration }) => observedGeneration);
    await expect.poll(generations, { timeout: 20_000 }).toEqual([2, 2, 2]);
    const times = (list: readonly Condition[]) => list.map(({ lastTransitionTime }) => lastTransitionTime);
    expect(times(await conditions('PeerAuthentication', 'modes'))).toEqual(times(before));
    const version = async () =>
      (await shop.writer.get({ apiVersion: own, kind: 'PeerAuthentication', name: 'modes', ...inShop }))
        .metadata['resourceVersion'];
    const written = await version();
    await shop.writer.put({ apiVersion: 'v1', kind: 'Node', metadata: { name: 'node-9' } });
    await shop.writer.put(policy('PeerAuthentication', 'other', only('other')));
    await expectConditions('PeerAuthentication', 'other', expected);
    expect(await version()).toBe(written);
  });

  it('are put right when somebody else writes nonsense into them', async () => {
    await controllers.start();
    await shop.writer.put(policy('WorkloadEntry', 'vm', { address: '10.0.0.9' }));
    const expected = ['Accepted=True', 'Conflicted=False', 'Programmed=True'];
    await expectConditions('WorkloadEntry', 'vm', expected);
    const patch = JSON.stringify({ status: { conditions: null, observedGeneration: 99 } });
    const args = [
      'patch',
      'workloadentry',
      'vm',
      '-n',
      'shop',
      '--subresource=status',
      '--type=merge',
      '-p',
      patch,
    ];
    await shop.server.kubectlOk(args);
    await expectConditions('WorkloadEntry', 'vm', expected);
  });

  it('say so of an object that only the API server accepts, and its last good version stays', async () => {
    await controllers.start();
    await shop.writer.put(policy('WorkloadEntry', 'newer', { address: '10.0.0.8' }));
    const good = ['Accepted=True', 'Conflicted=False', 'Programmed=True'];
    await expectConditions('WorkloadEntry', 'newer', good);
    const at = '/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/later';
    const patch = async (op: object): Promise<void> => {
      const args = ['patch', 'crd', 'workloadentries.weft.dev', '--type=json', '-p', JSON.stringify([op])];
      await shop.server.kubectlOk(args);
    };
    await patch({ op: 'add', path: at, value: { type: 'string' } });
    const later = policy('WorkloadEntry', 'newer', { address: '10.0.0.8', later: 'x' });
    // A changed definition takes a moment to count.
    await expect
      .poll(
        () =>
          shop.writer.put(later).then(
            async () =>
              (
                await shop.writer.get<{ spec: object }>({
                  apiVersion: own,
                  kind: 'WorkloadEntry',
                  name: 'newer',
                  ...inShop,
                })
              ).spec,
          ),
        { timeout: 20_000 },
      )
      .toHaveProperty('later');
    await expectConditions('WorkloadEntry', 'newer', [
      'Accepted=False',
      'Conflicted=False',
      'Programmed=False',
    ]);
    const [accepted] = await conditions('WorkloadEntry', 'newer');
    expect(accepted?.message).toContain('spec.later: Unknown field "later"');
    expect(accepted?.observedGeneration).toBe(2);
    await patch({ op: 'remove', path: at });
    await shop.writer.put(policy('WorkloadEntry', 'newer', { address: '10.0.0.7' }));
    await expectConditions('WorkloadEntry', 'newer', good);
  });

  it('come at most once a second for each object, however fast it changes', async () => {
    await controllers.start();
    const path = '/weft.dev/v1alpha1/namespaces/shop/peerauthentications/busy/status';
    for (let i = 0; i < 20; i++) {
      await shop.writer.put(
        policy('PeerAuthentication', 'busy', {
          ...only('busy'),
          mtls: { mode: i % 2 === 0 ? 'STRICT' : 'PERMISSIVE' },
        }),
      );
    }
    await expectConditions('PeerAuthentication', 'busy', [
      'Accepted=True',
      'Conflicted=False',
      'Programmed=True',
    ]);
    await expect
      .poll(async () => (await conditions('PeerAuthentication', 'busy'))[0]?.observedGeneration, {
        timeout: 10_000,
      })
      .toBe(20);
    const times = (await auditLines())
      .filter(({ verb, requestURI }) => verb === 'patch' && requestURI.includes(path))
      .map(({ requestReceivedTimestamp }) => Date.parse(requestReceivedTimestamp));
    const gaps = times.slice(1).map((time, i) => time - (times[i] as number));
    expect(times.length).toBeGreaterThan(0);
    expect(gaps.filter((gap) => gap < 950)).toEqual([]);
  });
});

interface AuditLine {
  readonly verb: string;
  readonly requestURI: string;
  readonly requestReceivedTimestamp: string;
}

async function auditLines(): Promise<readonly AuditLine[]> {
  const text = await readFile(shop.server.auditLog, 'utf8');
  return text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as AuditLine);
}
