// Ten minutes without API server and etcd, in a quarter of a minute: the controllers' clock runs forty times as fast
// meanwhile. That is the same to them: each of their timers ends at its own time and in its own order, and each attempt
// is a real one, which is refused at once; only requests that wait for an answer would notice, and nobody answers.

import { mkdtemp, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Controller, type ControllerPorts, rootCertificatePath } from '../../controller/app.ts';
import { parseControllerConfig } from '../../controller/config.ts';
import type { Clock, Timer } from '../../mesh/runtime/clock.ts';
import { NodeClient } from './node-client.ts';
import { TestMesh } from './test-mesh.ts';

const identity = { trustDomain: 'cluster.local', namespace: 'shop', serviceAccount: 'web' };
const outageMs = 600_000;
const speed = 40;

interface Waiting {
  /** By this clock's monotonic time. */
  readonly at: number;
  readonly run: () => void;
  timer: NodeJS.Timeout;
}

/** The machine's clock, faster for a while. */
class FastClock implements Clock {
  #speed = 1;
  #since = performance.now();
  #aheadMs = 0;
  readonly #waiting = new Set<Waiting>();

  now(): number {
    return Date.now() + this.#ahead();
  }

  monotonic(): number {
    return performance.now() + this.#ahead();
  }

  after(delayMs: number, run: () => void): Timer {
    const waiting: Waiting = { at: this.monotonic() + delayMs, run, timer: setTimeout(() => {}, 0) };
    this.#waiting.add(waiting);
    this.#arm(waiting);
    const cancel = (): void => {
      clearTimeout(waiting.timer);
      this.#waiting.delete(waiting);
    };
    return { cancel };
  }

  setSpeed(times: number): void {
    this.#aheadMs = this.#ahead();
    this.#since = performance.now();
    this.#speed = times;
    for (const waiting of this.#waiting) this.#arm(waiting);
  }

  #ahead(): number {
    return this.#aheadMs + (performance.now() - this.#since) * (this.#speed - 1);
  }

  #arm(waiting: Waiting): void {
    clearTimeout(waiting.timer);
    const fire = (): void => {
      this.#waiting.delete(waiting);
      waiting.run();
    };
    waiting.timer = setTimeout(fire, Math.max(0, waiting.at - this.monotonic()) / this.#speed);
  }
}

interface Replica {
  readonly controller: Controller;
  readonly ports: ControllerPorts;
  readonly node: NodeClient;
}

const clock = new FastClock();
const replicas: Replica[] = [];
let mesh: TestMesh;

beforeAll(async () => {
  mesh = await TestMesh.open({ replicas: 0 });
  for (const name of ['a', 'b']) replicas.push(await startReplica(name));
});
afterAll(async () => {
  for (const { controller, node } of replicas) {
    node.close();
    await controller.stop();
  }
  await mesh?.close();
});

async function startReplica(name: string): Promise<Replica> {
  const state = await mkdtemp(join(mesh.server.directory, `state-${name}-`));
  const { kubeconfig } = mesh.server;
  const flags = { kubeconfig, state, address: '127.0.0.1:0', admin: '127.0.0.1:0', 'log-level': 'silent' };
  const parsed = parseControllerConfig(flags);
  if (!parsed.ok) throw new Error(parsed.problems.join('\n'));
  const controller = new Controller(parsed.config, { clock });
  const ports = await controller.start();
  const roots = await readFile(rootCertificatePath(state), 'utf8');
  const node = new NodeClient({ port: ports.grpc, roots, token: mesh.token });
  await node.whenSynced();
  return { controller, ports, node };
}

async function page<T>({ ports }: Replica, path: string): Promise<T> {
  return (await (await fetch(`http://127.0.0.1:${ports.admin}${path}`)).json()) as T;
}

async function failing(): Promise<readonly number[]> {
  const count = async (replica: Replica): Promise<number> => {
    const { watches } = await page<{ watches: { failure?: string }[] }>(replica, '/cluster');
    return watches.filter(({ failure }) => failure !== undefined).length;
  };
  return await Promise.all(replicas.map(count));
}

async function problems(): Promise<number> {
  const all = await Promise.all(replicas.map((replica) => page<unknown[]>(replica, '/debug/problems')));
  return all.flat().length;
}

async function leaders(): Promise<number> {
  const all = await Promise.all(replicas.map((replica) => page<{ leading: boolean }>(replica, '/cluster')));
  return all.filter(({ leading }) => leading).length;
}

describe('ten minutes without API server and etcd', () => {
  it('cost no stream and no certificate, are told, and are over within seconds of their end', async () => {
    await expect.poll(leaders, { timeout: 20_000 }).toBe(1);
    for (const { node } of replicas) await node.sign(identity);
    await mesh.server.stopServer({ now: true });
    await mesh.server.stopEtcd();
    const until = clock.monotonic() + outageMs;
    let signed = 0;
    clock.setSpeed(speed);
    try {
      while (clock.monotonic() < until) {
        for (const { node } of replicas) {
          expect((await node.sign(identity))[0]).toContain('BEGIN CERTIFICATE');
          signed += 1;
        }
        await new Promise((resolve) => setTimeout(resolve, 250));
      }
      expect(signed).toBeGreaterThan(20);
      expect(await leaders()).toBe(0);
      expect(Math.min(...(await failing()))).toBeGreaterThan(5);
      expect(await problems()).toBeGreaterThan(10);
    } finally {
      clock.setSpeed(1);
      mesh.server.startEtcd();
      await mesh.server.startServer();
    }
    // The longest wait is five seconds, and the first that succeeds wakes the others.
    await expect.poll(failing, { timeout: 10_000 }).toEqual([0, 0]);
    await mesh.putOwn('AuthorizationPolicy', 'afterwards', { rules: [{}] });
    const told = () => replicas.every(({ node }) => node.policies.has('shop/afterwards'));
    await expect.poll(told, { timeout: 10_000 }).toBe(true);
    await expect.poll(leaders, { timeout: 20_000 }).toBe(1);
    const conditions = () => mesh.conditions('AuthorizationPolicy', 'afterwards');
    await expect.poll(conditions, { timeout: 20_000 }).toContain('Accepted=True');
    await expect.poll(problems, { timeout: 10_000 }).toBe(0);
    expect(replicas.flatMap(({ node }) => node.lost)).toEqual([]);
  }, 150_000);
});
