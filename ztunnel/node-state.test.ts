import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import type { AddressInfo } from 'node:net';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ManualClock } from '../mesh/runtime/clock.ts';
import { createLogger } from '../mesh/runtime/logger.ts';
import { chainPlugin, installProgram } from './cni-files.ts';
import { removeNodeState, runNodeStateRemoval } from './node-state.ts';

const list = JSON.stringify({ cniVersion: '1.0.0', name: 'pods', plugins: [{ type: 'bridge' }] });

describe('removeNodeState()', () => {
  let root: string;
  let places: Parameters<typeof removeNodeState>[0] & { 'cni-dir': string };

  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'weft-state-'));
    places = {
      node: 'node-1',
      'pin-dir': 'none',
      'cni-dir': join(root, 'node'),
      'cni-conf-dir': join(root, 'conf'),
      'cni-bin-dir': join(root, 'bin'),
    };
    mkdirSync(join(root, 'node/ztunnel'), { recursive: true });
    for (const name of ['enrolled-namespaces', 'ztunnel/roots.pem'])
      writeFileSync(join(root, 'node', name), '');
    mkdirSync(places['cni-conf-dir']);
    writeFileSync(join(root, 'conf/10-pods.conflist'), list);
    writeFileSync(join(root, 'program'), 'the program');
    putBack();
  });
  afterEach(() => rmSync(root, { recursive: true }));

  function putBack(): void {
    installProgram(join(root, 'program'), places['cni-bin-dir']);
    chainPlugin(places['cni-conf-dir']);
  }

  function left(): unknown {
    const config: unknown = JSON.parse(readFileSync(join(root, 'conf/10-pods.conflist'), 'utf8'));
    return [config, readdirSync(join(root, 'bin')), readdirSync(join(root, 'node'))];
  }

  test('leaves the configuration as others wrote it, and nothing else; also when nothing was there', () => {
    expect(removeNodeState(places)).toEqual([]);
    expect(left()).toEqual([JSON.parse(list), [], []]);
    expect(removeNodeState(places)).toEqual([]);
    rmSync(join(root, 'conf'), { recursive: true });
    rmSync(join(root, 'node'), { recursive: true });
    expect(removeNodeState(places)).toEqual([]);
    expect(existsSync(join(root, 'conf'))).toBe(false);
    mkdirSync(join(root, 'conf'));
  });

  test('says what it could not remove, and removes the rest', () => {
    mkdirSync(join(root, 'conf/00-broken.conflist'));
    expect(removeNodeState(places)).toEqual([expect.stringMatching(/^CNI step: EISDIR/)]);
    expect(readdirSync(join(root, 'node'))).toEqual([]);
  });

  test('as a program is ready when all is gone, removes what is put back, and ends when asked', async () => {
    const clock = new ManualClock();
    const asked = Promise.withResolvers<void>();
    const port = await freePort();
    const run = runNodeStateRemoval(
      { ...places, 'readiness-port': port },
      { asked: asked.promise, clock, logger: createLogger({ component: 'test', level: 'silent' }) },
    );
    await expect
      .poll(async () => (await fetch(`http://127.0.0.1:${port}/healthz/ready`)).status, { timeout: 10_000 })
      .toBe(200);
    putBack();
    clock.advance(1_000);
    expect(left()).toEqual([JSON.parse(list), [], []]);
    asked.resolve();
    await run;
  });
});

async function freePort(): Promise<number> {
  const server = net.createServer();
  await new Promise<void>((resolve) => server.listen(0, resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}
