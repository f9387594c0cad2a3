// Namespaces of the test's own, removed afterwards; nothing is sent anywhere.

import { execFileSync } from 'node:child_process';
import { readdirSync, readlinkSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import { once } from 'node:events';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { NetnsError, withNetns } from './netns.ts';

const skip = process.getuid?.() !== 0 && process.env.CI === undefined;
const here = () => readlinkSync('/proc/thread-self/ns/net');

describe.skipIf(skip)(`withNetns()${skip ? ' (skipped: it needs root)' : ''}`, () => {
  const names = ['a', 'b'].map((label) => `wn-${process.pid}-${label}`);
  const [a, b] = names.map((name) => `/run/netns/${name}`) as [string, string];

  beforeAll(() => {
    for (const name of names) execFileSync('ip', ['netns', 'add', name]);
  });
  afterAll(() => {
    for (const name of names) execFileSync('ip', ['netns', 'del', name]);
  });

  it('runs inside, returns the result, and is back afterwards', () => {
    const home = here();
    const inside = withNetns(a, here);
    expect(inside).not.toBe(home);
    expect(withNetns(a, here)).toBe(inside);
    expect(withNetns(b, here)).not.toBe(inside);
    expect(here()).toBe(home);
  });

  it('nests, and returns to the outer namespace', () => {
    withNetns(a, () => {
      const outer = here();
      expect(withNetns(b, here)).not.toBe(outer);
      expect(here()).toBe(outer);
    });
  });

  it('is back after an exception', () => {
    const home = here();
    const thrower = () => {
      throw new RangeError('on purpose');
    };
    expect(() => withNetns(a, () => withNetns(b, thrower))).toThrow(RangeError);
    expect(here()).toBe(home);
  });

  it('refuses a promise, a path that is not there and a file that is no namespace', () => {
    const home = here();
    expect(() => withNetns(a, () => Promise.resolve(1))).toThrow(/must be synchronous/);
    expect(() => withNetns('/run/netns/nowhere', here)).toThrow(/Could not open network namespace/);
    expect(() => withNetns('/proc/self/ns/uts', here)).toThrow(NetnsError);
    expect(here()).toBe(home);
  });

  it('moves only the calling thread', async () => {
    const home = here();
    const script = `
        import { readlinkSync } from 'node:fs';
        import { parentPort, workerData } from 'node:worker_threads';
        const { withNetns } = await import(workerData.module);
        const here = () => readlinkSync('/proc/thread-self/ns/net');
        withNetns(workerData.path, () => {
          parentPort.postMessage(here());
          Atomics.wait(new Int32Array(workerData.gate), 0, 0);
        });
        parentPort.postMessage(here());`;
    const gate = new SharedArrayBuffer(4);
    const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(script)}`), {
      workerData: { module: new URL('./netns.ts', import.meta.url).href, path: a, gate },
    });
    const [inside] = await once(worker, 'message');
    expect(inside).not.toBe(home);
    expect(here()).toBe(home);
    Atomics.store(new Int32Array(gate), 0, 1);
    Atomics.notify(new Int32Array(gate), 0);
    expect((await once(worker, 'message'))[0]).toBe(home);
    await worker.terminate();
  });

  it('leaves no descriptor behind', () => {
    withNetns(a, here);
    const before = readdirSync('/proc/self/fd').length;
    for (let i = 0; i < 20; i++) withNetns(i % 2 === 0 ? a : b, here);
    expect(readdirSync('/proc/self/fd')).toHaveLength(before);
  });
});
