import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Agent } from './agent.ts';
import { listNamespaces } from './command.ts';
import { Lab, type LabHost } from './lab.ts';
import { removeLab } from './lab-state.ts';
import { isAlive } from './process-identity.ts';

const isRoot = process.getuid?.() === 0;
const api = join(import.meta.dirname, '../apps/api.ts');

describe.skipIf(!isRoot)('Lab (needs root)', () => {
  let lab: Lab;
  let one: LabHost;
  let two: LabHost;
  let client: LabHost;
  let server: LabHost;
  let agent: Agent;

  beforeAll(async () => {
    lab = Lab.open('labtest');
    one = lab.addNode('node-1');
    two = lab.addNode('node-2');
    client = lab.addPod(one, { name: 'client', podNamespace: 'default' });
    server = lab.addPod(two, { name: 'server', podNamespace: 'default' });
    const running = lab.spawn(server, { name: 'server', argv: [process.execPath, api, '--pod', 'server'] });
    await running.waitForLine(/listening/);
    agent = lab.agent(client);
  });

  afterAll(async () => {
    await lab?.close();
  });

  test.each(['v4', 'v6'] as const)(
    'pods of two nodes reach each other by %s and see the address',
    async (family) => {
      const answer = await agent.call('http', { host: server.address[family], port: 8080, path: '/x' });
      expect(JSON.parse(answer.body)).toMatchObject({
        pod: 'server',
        client: client.address[family],
        path: '/x',
      });
    },
  );

  test('a node reaches its own pods and the control host', async () => {
    const control = lab.spawn(lab.control, {
      name: 'control-server',
      argv: [process.execPath, api, '--pod', 'control'],
    });
    await control.waitForLine(/listening/);
    const node = lab.agent(two);
    const fromPod = await node.call('http', { host: server.address.v6, port: 8080, path: '/' });
    const fromControl = await node.call('http', { host: lab.control.address.v4, port: 8080, path: '/' });
    expect([fromPod.status, fromControl.status]).toEqual([200, 200]);
    expect(await control.stop()).toBe(0);
  });

  test.each(['192.0.2.1', '2001:db8::1', '10.96.0.1', '10.78.0.99'])(
    'nothing is routed out of the lab to %s',
    async (host) => {
      const refused = agent.call('http', { host, port: 80, path: '/', timeoutMs: 5000 });
      await expect(refused).rejects.toMatchObject({ reason: expect.stringMatching(/UNREACH/) });
    },
  );

  test('a capture on the link sees plaintext between nodes', async () => {
    using capture = lab.capture();
    await agent.call('http', { host: server.address.v4, port: 8080, path: '/secret-token-7' });
    expect(capture.framesWith('secret-token-7')).toBeGreaterThan(0);
    expect(capture.framesWith('never-sent')).toBe(0);
    capture.save(join(lab.directory, 'link.pcap'));
    expect(existsSync(join(lab.directory, 'link.pcap'))).toBe(true);
  });

  test('a held connection exchanges lines and reports its end', async () => {
    await agent.call('open', { id: 'echo', host: server.address.v4, port: 9000 });
    expect(await agent.call('exchange', { id: 'echo', text: 'hello' })).toBe('hello');
    expect(await agent.call('state', 'echo')).toEqual({ open: true });
    await agent.call('close', 'echo');
    await expect(agent.call('state', 'echo')).rejects.toThrow(/echo/);
  });

  test.each(['requests', 'connections', 'round-trips', 'bulk'] as const)(
    'a load of %s counts its successes',
    async (kind) => {
      const port = kind === 'round-trips' ? 9000 : kind === 'bulk' ? 9002 : 8080;
      const report = await agent.call('load', {
        kind,
        host: server.address.v4,
        port,
        concurrency: 2,
        durationMs: 200,
      });
      expect(report.errors).toEqual({});
      expect(kind === 'bulk' ? report.bytes : report.succeeded).toBeGreaterThan(0);
      if (kind === 'requests') expect(Object.keys(report.servers)).toEqual(['server']);
    },
  );

  test('a pod has its own resolv.conf', async () => {
    const cat = lab.spawn(client, { name: 'cat', argv: ['cat', '/etc/resolv.conf'] });
    expect(await cat.stop('SIGCONT')).toBe(0);
    expect(cat.log.text()).toMatch(/^nameserver 10\.96\.0\.10\nsearch default\.svc\.cluster\.local /);
  });

  test('a process that ends instead of getting ready is reported with its last lines', async () => {
    const broken = lab.spawn(client, { name: 'broken', argv: ['sh', '-c', 'echo cannot bind; exit 3'] });
    await expect(broken.waitForLine(/listening/)).rejects.toThrow(/status 3[^]*cannot bind/);
  });
});

describe.skipIf(!isRoot)('removeLab() (needs root)', () => {
  test('removes what an earlier run left, processes included, and may run twice', async () => {
    const lab = Lab.open('lableft');
    const node = lab.addNode('node-1');
    const pod = lab.addPod(node, { name: 'pod', podNamespace: 'default' });
    const left = lab.spawn(pod, { name: 'sleeper', argv: ['sleep', '600'] });
    removeLab('lableft');
    expect(await left.stop('SIGCONT')).toBe(1);
    removeLab('lableft');
    expect(listNamespaces().filter((name) => name.startsWith('weft-lableft-'))).toEqual([]);
    expect(existsSync(`/etc/netns/${pod.namespace}`)).toBe(false);
  });

  test('close() leaves no namespace, process or state', async () => {
    const lab = Lab.open('labclose');
    const sleeper = lab.spawn(lab.control, { name: 'sleeper', argv: ['sleep', '600'] });
    await lab.close();
    await lab.close();
    expect(isAlive(sleeper.identity)).toBe(false);
    expect(listNamespaces().filter((name) => name.startsWith('weft-labclose-'))).toEqual([]);
    expect(existsSync('/run/weft-lab/labclose.json')).toBe(false);
  });

  test('a name that could not be a part of a namespace name is refused', () => {
    expect(() => Lab.open('BAD NAME')).toThrow(/lab's name/);
  });
});
