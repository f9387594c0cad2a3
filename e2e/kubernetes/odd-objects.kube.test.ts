// Objects that are right one by one and odd together, in a real API server: addresses that two pods claim, pods without
// one, names that come back, labels that flap, objects that will not go, and very many endpoints. What is not concerned
// is never told again.

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { podManifest, TestMesh } from './test-mesh.ts';

const wait = { timeout: 30_000 };
const uidOf = (namespace: string, name: string): string => `Kubernetes//Pod/${namespace}/${name}`;
const good = ['Accepted=True', 'Conflicted=False', 'Programmed=True'];

let mesh: TestMesh;
beforeAll(async () => {
  mesh = await TestMesh.open();
});
afterAll(async () => {
  const told = mesh.node.told.get(uidOf('calm', 'bystander'));
  const { lost } = mesh.node;
  const { running } = mesh.controller;
  await mesh.close();
  // Whatever happened above, it was none of the bystander's business.
  expect({ told, lost, running }).toEqual({ told: 1, lost: [], running: true });
});

describe('an address', () => {
  it('of a pod that finished belongs to the pod that got it next', async () => {
    await mesh.putPod('job', { ip: '10.1.1.1' });
    await expect.poll(() => mesh.node.addressesOf('job'), wait).toBe('10.1.1.1');
    const { status: _status, ...job } = podManifest('job', { ip: '10.1.1.1' });
    const ended = { phase: 'Succeeded', podIP: '10.1.1.1', podIPs: [{ ip: '10.1.1.1' }] };
    await mesh.writer.put({ ...job, status: ended });
    await mesh.putPod('next', { ip: '10.1.1.1', account: 'other' });
    await expect.poll(() => mesh.node.addressesOf('next'), wait).toBe('10.1.1.1');
    expect(mesh.node.workload('next')?.serviceAccount).toBe('other');
    expect(mesh.node.hasWorkload('job')).toBe(false);
    expect(await mesh.events('AddressInUse')).toEqual([]);
  });

  it('that two running pods claim is the older one’s; the other is told so and gets it when it is free', async () => {
    await mesh.putPod('elder', { ip: '10.1.1.2' });
    await expect.poll(() => mesh.node.addressesOf('elder'), wait).toBe('10.1.1.2');
    // Creation times have seconds.
    await new Promise((resolve) => setTimeout(resolve, 1_100));
    await mesh.putPod('younger', { ip: '10.1.1.2' });
    const said = 'Address 10.1.1.2 already belongs to Pod shop/elder';
    await expect.poll(() => mesh.events('AddressInUse'), wait).toEqual([expect.stringContaining(said)]);
    expect(await mesh.controller.linesWith(said)).toHaveLength(1);
    expect(mesh.node.hasWorkload('younger')).toBe(false);
    await mesh.deletePod('elder');
    await expect.poll(() => mesh.node.addressesOf('younger'), wait).toBe('10.1.1.2');
  });

  it('is not kept by a pod that is being deleted and does not go', async () => {
    await mesh.putPod('stuck', { ip: '10.1.1.3', finalizers: ['test.weft.dev/hold'] });
    await expect.poll(() => mesh.node.workload('stuck')?.health, wait).toBe('healthy');
    await mesh.deletePod('stuck');
    await expect.poll(() => mesh.node.workload('stuck')?.health, wait).toBe('unhealthy');
    await mesh.putPod('successor', { ip: '10.1.1.3', account: 'other' });
    await expect.poll(() => mesh.node.addressesOf('successor'), wait).toBe('10.1.1.3');
    expect(mesh.node.hasWorkload('stuck')).toBe(false);
    await release('Pod', 'stuck');
    await expect.poll(() => mesh.node.addressesOf('successor'), wait).toBe('10.1.1.3');
  });
});

describe('a pod', () => {
  it('on the network of its node is known and not captured, and may share its address', async () => {
    await mesh.putPod('agent-a', { ip: '192.0.2.1', hostNetwork: true });
    await mesh.putPod('agent-b', {
      ip: '192.0.2.1',
      hostNetwork: true,
      labels: { 'weft.dev/mode': 'ambient' },
    });
    await expect
      .poll(() => mesh.node.hasWorkload('agent-a') && mesh.node.hasWorkload('agent-b'), wait)
      .toBe(true);
    for (const name of ['agent-a', 'agent-b']) {
      const { tunnelProtocol, networkMode } = mesh.node.workload(name) ?? {};
      expect({ tunnelProtocol, networkMode }).toEqual({
        tunnelProtocol: 'none',
        networkMode: 'host-network',
      });
    }
    const told = () => mesh.events('HostNetwork');
    await expect.poll(told, wait).toEqual([expect.stringContaining('network of its node')]);
  });

  it('without an address is told as soon as it has one', async () => {
    await mesh.putPod('pending');
    await mesh.putPod('behind', { ip: '10.1.1.5' });
    await expect.poll(() => mesh.node.hasWorkload('behind'), wait).toBe(true);
    expect(mesh.node.hasWorkload('pending')).toBe(false);
    await mesh.putPod('pending', { ip: '10.1.1.6' });
    await expect.poll(() => mesh.node.addressesOf('pending'), wait).toBe('10.1.1.6');
  });

  it('made again with the same name is the new one, with its identity', async () => {
    for (const turn of [1, 2, 3, 4, 5]) {
      const account = turn % 2 === 0 ? 'web' : 'other';
      await mesh.putPod('again', { ip: `10.1.2.${turn}`, account });
      if (turn < 5) await mesh.deletePod('again');
    }
    await expect.poll(() => mesh.node.addressesOf('again'), wait).toBe('10.1.2.5');
    expect(mesh.node.workload('again')?.serviceAccount).toBe('other');
  });

  it('whose label flaps ends as the label says last', async () => {
    const set = (mode: string): Promise<void> =>
      mesh.putPod('flapping', { ip: '10.1.1.7', labels: { 'weft.dev/mode': mode } });
    for (let turn = 0; turn < 40; turn++) await set(turn % 2 === 0 ? 'none' : 'ambient');
    await expect.poll(() => mesh.node.workload('flapping')?.tunnelProtocol, wait).toBe('hbone');
    await set('none');
    await expect.poll(() => mesh.node.workload('flapping')?.tunnelProtocol, wait).toBe('none');
  });
});

describe('an object of ours', () => {
  it('made again with the same name has the status of the new one', async () => {
    for (let turn = 0; turn < 5; turn++) {
      await mesh.putOwn('AuthorizationPolicy', 'again', { rules: [{}] });
      await mesh.deleteOwn('AuthorizationPolicy', 'again');
    }
    const targetRefs = [{ kind: 'Service', name: 'nowhere' }];
    await mesh.putOwn('AuthorizationPolicy', 'again', { targetRefs, rules: [{}] });
    const resolved = async () =>
      (await mesh.conditionObjects('AuthorizationPolicy', 'again')).find(
        ({ type }) => type === 'ResolvedRefs',
      );
    await expect.poll(resolved, wait).toMatchObject({ status: 'False', observedGeneration: 1 });
    expect(await mesh.controller.linesWith('writing a status failed')).toEqual([]);
  });

  it('that a finalizer holds stays in force until it is gone', async () => {
    const metadata = { finalizers: ['test.weft.dev/hold'] };
    await mesh.putOwn('AuthorizationPolicy', 'held', { action: 'DENY', rules: [{}] }, metadata);
    await expect.poll(() => mesh.node.policies.has('shop/held'), wait).toBe(true);
    await expect
      .poll(() => mesh.conditions('AuthorizationPolicy', 'held'), wait)
      .toEqual([...good, 'ResolvedRefs=True']);
    await mesh.deleteOwn('AuthorizationPolicy', 'held');
    // What comes later has been told, so this has been seen.
    await mesh.putOwn('AuthorizationPolicy', 'later', { rules: [{}] });
    await expect.poll(() => mesh.node.policies.has('shop/later'), wait).toBe(true);
    expect(mesh.node.policies.has('shop/held')).toBe(true);
    await release('AuthorizationPolicy', 'held');
    await expect.poll(() => mesh.node.policies.has('shop/held'), wait).toBe(false);
    expect(await mesh.controller.linesWith('writing a status failed')).toEqual([]);
  });

  it('that conflicts with an older one says so, and counts when that is gone', async () => {
    const spec = (mode: string) => ({ selector: { matchLabels: { app: 'web' } }, mtls: { mode } });
    await mesh.putOwn('PeerAuthentication', 'older', spec('STRICT'));
    await expect.poll(() => mesh.conditions('PeerAuthentication', 'older'), wait).toEqual(good);
    await new Promise((resolve) => setTimeout(resolve, 1_100));
    await mesh.putOwn('PeerAuthentication', 'newer', spec('PERMISSIVE'));
    const conflicted = async () =>
      (await mesh.conditionObjects('PeerAuthentication', 'newer')).find(({ type }) => type === 'Conflicted');
    await expect.poll(conflicted, wait).toMatchObject({ status: 'True' });
    const { reason = '', message = '' } = (await conflicted()) ?? {};
    expect(message).toContain('older');
    await expect.poll(() => mesh.events(reason), wait).toEqual([message]);
    expect(await mesh.conditions('PeerAuthentication', 'older')).toEqual(good);
    await mesh.deleteOwn('PeerAuthentication', 'older');
    await expect.poll(() => mesh.conditions('PeerAuthentication', 'newer'), wait).toEqual(good);
  });
});

describe('a Service of 5,000 pods', () => {
  it('reaches a node whole, and one pod of it changes alone', async () => {
    const count = 5_000;
    await mesh.writer.apply(
      'apiVersion: v1\nkind: Service\nmetadata: { name: crowd, namespace: shop }\nspec: { selector: { crowd: "yes" }, ports: [{ port: 80 }] }\n',
    );
    const name = (n: number): string => `crowd-${n}`;
    const manifest = (n: number, ready = true) =>
      podManifest(name(n), {
        ip: `10.3.${n >> 8}.${n & 255}`,
        labels: { crowd: 'yes', ready: String(ready) },
      });
    let next = 0;
    const worker = async (): Promise<void> => {
      for (let n = next++; n < count; n = next++) await create(manifest(n));
    };
    await Promise.all(Array.from({ length: 24 }, worker));
    const members = () =>
      [...mesh.node.workloads.values()].filter(({ services }) =>
        [...services.keys()].some((key) => key.startsWith('shop/crowd.')),
      ).length;
    await expect.poll(members, { timeout: 120_000 }).toBe(count);
    // A new node gets all of it too, and a change of one pod is told as a change of one.
    const toldBefore = [...mesh.node.told.values()].reduce((sum, times) => sum + times, 0);
    await mesh.writer.put(manifest(7, false));
    await mesh.putPod('after-crowd', { ip: '10.1.1.9' });
    await expect.poll(() => mesh.node.hasWorkload('after-crowd'), wait).toBe(true);
    const toldAfter = [...mesh.node.told.values()].reduce((sum, times) => sum + times, 0);
    expect(toldAfter - toldBefore).toBeLessThanOrEqual(3);
    expect(mesh.node.lost).toEqual([]);
  }, 240_000);
});

/** Takes the finalizers away. */
async function release(kind: 'Pod' | 'AuthorizationPolicy', name: string): Promise<void> {
  const args = ['patch', kind, name, '-n', 'shop', '--type=merge', '-p', '{"metadata":{"finalizers":null}}'];
  await mesh.server.kubectlOk(args);
}

/** Two requests, without looking up first what is served. */
async function create({ status, ...pod }: ReturnType<typeof podManifest>): Promise<void> {
  const path = '/api/v1/namespaces/shop/pods';
  await mesh.client.request({ method: 'POST', path, body: pod });
  const contentType = 'application/merge-patch+json';
  const own = `${path}/${pod.metadata.name}/status`;
  await mesh.client.request({ method: 'PATCH', path: own, body: { status }, contentType });
}
