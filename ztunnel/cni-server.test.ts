import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ManualClock } from '../mesh/runtime/clock.ts';
import { createLogger } from '../mesh/runtime/logger.ts';
import { CniError } from './cni-error.ts';
import { type CniRequest, readCniRequest } from './cni-request.ts';
import { CniServer } from './cni-server.ts';

const environment = {
  CNI_COMMAND: 'ADD',
  CNI_CONTAINERID: 'c1',
  CNI_ARGS: 'IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-1.a;K8S_POD_UID=u-1',
  WEFT_NETNS: '/proc/7/fd/3',
};

const prevResult = {
  cniVersion: '1.0.0',
  interfaces: [{ name: 'cni0' }, { name: 'eth0', sandbox: '/run/netns/a' }],
  ips: [
    { address: '10.0.0.1/24', interface: 1, gateway: '10.0.0.254' },
    { address: '10.0.0.254/24', interface: 0 },
    { address: 'fd00::1/64' },
  ],
};

function message(changes: Record<string, string | undefined> = {}, config: unknown = { prevResult }): Buffer {
  const entries = Object.entries({ ...environment, ...changes }).filter(([, value]) => value !== undefined);
  const variables = entries.map(([name, value]) => `${name}=${value}\0`).join('');
  return Buffer.from(`${variables}\0${typeof config === 'string' ? config : JSON.stringify(config)}`);
}

describe('readCniRequest()', () => {
  test('finds the pod, its namespace and its own addresses', () => {
    expect(readCniRequest(message())).toEqual({
      command: 'ADD',
      sandboxId: 'c1',
      pod: { namespace: 'shop', name: 'web-1.a', uid: 'u-1' },
      netnsPath: '/proc/7/fd/3',
      addresses: ['10.0.0.1', 'fd00::1'],
    });
    expect(readCniRequest(message({ CNI_COMMAND: 'DEL', CNI_ARGS: '', WEFT_NETNS: undefined }, ''))).toEqual({
      command: 'DEL',
      sandboxId: 'c1',
    });
  });

  test.each([
    ['no address', {}, { prevResult: {} }, { addresses: [] }],
    [
      'addresses of others only',
      {},
      { prevResult: { ips: [{ address: '10.0.0.1', interface: 5 }] } },
      { addresses: [] },
    ],
    ['no namespace', { WEFT_NETNS: undefined }, { prevResult }, { netnsPath: undefined }],
    [
      'no UID',
      { CNI_ARGS: 'K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web' },
      { prevResult },
      { pod: { namespace: 'shop', name: 'web', uid: undefined } },
    ],
  ])('reads a request with %s, which only a pod of the mesh needs', (_what, changes, config, part) => {
    expect(readCniRequest(message(changes, config))).toMatchObject(part);
  });

  test.each([
    ['no end of the environment', Buffer.from('CNI_COMMAND=ADD\0'), 'undecodable-request'],
    ['a broken text', Buffer.from([0xff, 0, 0]), 'undecodable-request'],
    ['another command', message({ CNI_COMMAND: 'PING' }), 'invalid-environment'],
    ['no sandbox', message({ CNI_CONTAINERID: '../x' }), 'invalid-environment'],
    ['no pod', message({ CNI_ARGS: 'K8S_POD_NAMESPACE=a;K8S_POD_UID=b-c' }), 'invalid-environment'],
    ['another path', message({ WEFT_NETNS: '/proc/1/root/etc/passwd' }), 'invalid-environment'],
    ['no JSON', message({}, '{'), 'undecodable-request'],
    ['no result', message({}, {}), 'invalid-configuration'],
    [
      'a broken address',
      message({}, { prevResult: { ips: [{ address: '10.0.0/24' }] } }),
      'invalid-configuration',
    ],
  ])('refuses %s', (_what, bytes, code) => {
    expect(() => readCniRequest(bytes)).toThrowError(expect.objectContaining({ name: 'CniError', code }));
  });

  test('throws nothing but CniError, whatever comes', () => {
    const bytes = fc.oneof(
      fc.uint8Array({ maxLength: 300 }),
      fc.tuple(fc.nat(), fc.nat(255)).map(([at, byte]) => {
        const changed = message();
        changed[at % changed.length] = byte;
        return changed;
      }),
      fc.json().map((config) => message({}, config)),
    );
    fc.assert(
      fc.property(bytes, (input) => {
        try {
          readCniRequest(Buffer.from(input));
        } catch (error) {
          expect(error).toBeInstanceOf(CniError);
        }
      }),
      { numRuns: 2_000 },
    );
  });
});

describe('CniServer', () => {
  let directory: string;
  let path: string;
  let clock: ManualClock;
  let server: CniServer;
  let handle: (request: CniRequest) => Promise<void>;

  const open = (): Promise<CniServer> =>
    CniServer.open({
      directory,
      handle: (request) => handle(request),
      clock,
      logger: createLogger({ component: 'cni', level: 'silent' }),
    });

  beforeEach(async () => {
    directory = mkdtempSync(join(tmpdir(), 'weft-node-'));
    chmodSync(directory, 0o755); // as a kubelet makes it
    path = join(directory, 'cni.sock');
    clock = new ManualClock();
    handle = () => Promise.resolve();
    server = await open();
  });
  afterEach(async () => {
    await server.close();
    rmSync(directory, { recursive: true });
  });

  async function ask(bytes: Buffer | string): Promise<string> {
    const socket = net.connect({ path, allowHalfOpen: true });
    socket.on('error', () => {});
    socket.end(bytes);
    return await text(socket).catch((error: NodeJS.ErrnoException) => error.code ?? error.message);
  }

  test('answers with what the handler decides', async () => {
    expect(await ask(message())).toBe('+');
    handle = () => Promise.reject(new CniError('try-again', 'no certificate'));
    const refusal = await ask(message());
    expect(refusal[0]).toBe('-');
    expect(JSON.parse(refusal.slice(1))).toEqual({
      cniVersion: '1.0.0',
      code: 11,
      msg: 'Weft: no certificate',
    });
    handle = () => Promise.reject(new Error('a bug'));
    expect(JSON.parse((await ask(message())).slice(1))).toMatchObject({ code: 100, msg: 'Weft: a bug' });
  });

  test('says of garbage what is wrong with it, and serves others', async () => {
    expect(JSON.parse((await ask('garbage')).slice(1))).toMatchObject({ code: 6 });
    expect(await ask(message())).toBe('+');
  });

  test('cuts off who sends more than a configuration can be', async () => {
    expect(await ask(Buffer.alloc(2 * 1024 * 1024, 'x'))).toMatch(/^(EPIPE|ECONNRESET|)$/);
    expect(await ask(message())).toBe('+');
  });

  test('cuts off who is slow, and does not wait for them', async () => {
    const slow = net.connect(path);
    slow.on('error', () => {});
    await once(slow, 'connect');
    slow.write('CNI_COMMAND=ADD');
    expect(await ask(message())).toBe('+'); // the slow one was accepted before
    const closed = once(slow, 'close');
    slow.resume();
    clock.advance(5_000);
    await closed;
  });

  test('lets nobody in but its own user', async () => {
    expect(statSync(directory).mode & 0o777).toBe(0o700);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    const script = `require('net').connect(${JSON.stringify(path)}).on('error', (e) => console.log(e.code)).on('connect', () => process.exit(1))`;
    const stranger = spawn(process.execPath, ['-e', script], { uid: 65_534, gid: 65_534 });
    expect(await text(stranger.stdout)).toBe('EACCES\n');
  });

  test('the next process takes the socket over, and the earlier one leaves it alone', async () => {
    const next = await open();
    handle = () => Promise.reject(new CniError('try-again', 'from the next'));
    await server.close();
    server = next;
    expect(await ask(message())).toContain('from the next');
    expect(readdirSync(directory)).toEqual(['cni.sock']);
  });

  test('a request under way when the process ends gets no answer', async () => {
    const arrived = Promise.withResolvers<void>();
    handle = () => {
      arrived.resolve();
      return new Promise(() => {});
    };
    const asked = ask(message());
    await arrived.promise;
    await server.close();
    expect(['', 'ECONNRESET']).toContain(await asked);
    server = await open();
  });
});
