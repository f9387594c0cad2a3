// The real program against a scripted node tunnel, in a node directory of the test's own.

import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, unlinkSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { buildShim } from './build.ts';

interface Run {
  readonly status: number | null;
  readonly out: string;
}

interface Refusal {
  readonly code: number;
  readonly msg: string;
}

const prevResult = '{ "cniVersion":"1.0.0", "ips":[{"address":"10.0.0.1/24"}],  "x":"}\\"," }';
const config = `{"cniVersion":"1.0.0","a":{"prevResult":{"no":1}},"b":"\\"prevResult\\":", "prevResult" : ${prevResult},"z":[1]}`;

describe('weft-cni', () => {
  let programs: string;
  let shim: string;
  let directory: string;
  let server: net.Server | undefined;
  let requests: string[];

  beforeAll(() => {
    programs = mkdtempSync(join(tmpdir(), 'weft-cni-'));
    shim = join(programs, 'weft-cni');
    buildShim(shim);
  });
  afterAll(() => rmSync(programs, { recursive: true }));
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'weft-node-'));
    requests = [];
  });
  afterEach(async () => {
    await new Promise<unknown>((resolve) => (server === undefined ? resolve(0) : server.close(resolve)));
    server = undefined;
    rmSync(directory, { recursive: true });
  });

  /** Resolves with what the program said when it ended. */
  async function run(command: string, variables: Record<string, string> = {}, input = config): Promise<Run> {
    const env = { ...podOf('shop'), CNI_COMMAND: command, WEFT_NODE_DIRECTORY: directory, ...variables };
    const child = spawn(shim, { env, stdio: ['pipe', 'pipe', 'inherit'] });
    child.stdin.on('error', () => {}); // VERSION does not read it
    child.stdin.end(input);
    const ended = new Promise<number | null>((resolve) => child.once('close', resolve));
    return { out: await text(child.stdout), status: await ended };
  }

  /** A node tunnel that answers every request; with undefined it closes the connection without a word. */
  async function answerWith(answer: (request: string) => string | undefined): Promise<void> {
    server = net.createServer({ allowHalfOpen: true }, (socket) => {
      let request = '';
      socket.setEncoding('utf8').on('data', (chunk: string) => (request += chunk));
      socket.on('end', () => {
        requests.push(request);
        socket.end(answer(request) ?? '');
      });
      socket.on('error', () => {}); // the program may end before it is read
    });
    await new Promise<void>((resolve) => server?.listen(join(directory, 'cni.sock'), resolve));
  }

  function enrol(...names: string[]): void {
    writeFileSync(join(directory, 'enrolled-namespaces'), names.map((name) => `${name}\n`).join(''));
  }

  test('is one file that needs no library of the node', () => {
    const head = readFileSync(shim).subarray(0, 4096).toString('latin1');
    expect(head).not.toContain('ld-linux');
    expect(statSync(shim).size).toBeLessThan(1_500_000);
  });

  test('VERSION is answered without a node tunnel', async () => {
    const { status, out } = await run('VERSION');
    expect(status).toBe(0);
    expect(JSON.parse(out)).toMatchObject({ supportedVersions: expect.arrayContaining(['1.0.0', '1.1.0']) });
  });

  test('ADD hands over environment, namespace and configuration, and passes the earlier result on unchanged', async () => {
    let netns: number | undefined;
    await answerWith((request) => {
      const path = /WEFT_NETNS=([^\0]*)\0/.exec(request)?.[1] ?? '';
      netns = statSync(path).ino;
      return '+';
    });
    expect(await run('ADD')).toEqual({ status: 0, out: prevResult });
    expect(netns).toBe(statSync('/proc/self/ns/net').ino);
    const [variables, input] = (requests[0] ?? '').split('\0\0');
    expect(input).toBe(config);
    expect(variables?.split('\0')).toEqual(
      expect.arrayContaining(
        ['CNI_COMMAND=ADD', 'CNI_CONTAINERID=c1', podOf('shop').CNI_ARGS].map(asArgument),
      ),
    );
    expect(variables).not.toContain('WEFT_NODE_DIRECTORY');
  });

  test('ADD says what the node tunnel says when that refuses', async () => {
    const error = '{"cniVersion":"1.0.0","code":11,"msg":"no certificate"}';
    await answerWith(() => `-${error}`);
    expect(await run('ADD')).toEqual({ status: 1, out: `${error}\n` });
  });

  test.each([
    ['nothing was ever enrolled', []],
    ['other namespaces are enrolled', ['shop-1', 'sho', 'bank']],
  ])('ADD without a node tunnel passes at once where %s', async (_where, names) => {
    if (names.length > 0) enrol(...names);
    expect(await run('ADD')).toEqual({ status: 0, out: prevResult });
  });

  test('ADD for no pod of Kubernetes passes', async () => {
    enrol('shop');
    expect(await run('ADD', { CNI_ARGS: 'IgnoreUnknown=1' })).toEqual({ status: 0, out: prevResult });
  });

  test('ADD waits for a node tunnel that comes, where the namespace is enrolled', async () => {
    enrol('bank', 'shop');
    let silent = 2;
    await answerWith(() => (silent-- > 0 ? undefined : '+'));
    expect(await run('ADD')).toEqual({ status: 0, out: prevResult });
    expect(requests).toHaveLength(3);
  });

  // Together, because each waits for its ten seconds.
  test('ADD in an enrolled namespace fails in the end, saying who waits for what', {
    timeout: 30_000,
  }, async () => {
    enrol('shop');
    const unreadable = join(directory, 'unreadable');
    mkdirSync(join(unreadable, 'enrolled-namespaces'), { recursive: true });
    const oddName = 'K8S_POD_NAMESPACE=shop;K8S_POD_NAME="},\\\u0007\n';
    const runs = await Promise.all([
      run('ADD'),
      run('ADD', { CNI_ARGS: oddName }),
      run('ADD', { WEFT_NODE_DIRECTORY: unreadable }),
    ]);
    expect(runs.map(({ status }) => status)).toEqual([1, 1, 1]);
    const refusals = runs.map(({ out }) => JSON.parse(out) as Refusal);
    expect(refusals.map(({ code }) => code)).toEqual([11, 11, 11]);
    expect(refusals[0]?.msg).toContain('pod shop/web-1 waits');
    expect(refusals[0]?.msg).toContain(`${directory}/cni.sock`);
    expect(refusals[1]?.msg).toContain('pod shop/?},??? waits');
  });

  test.each([
    ['{}', 7],
    ['', 7],
    ['{"prevResult":"text"}', 7],
    ['{"prevResult":{"a":1}', 7],
    ['[{"prevResult":{}}]', 7],
    ['{"a":"prevResult", "b":{"prevResult":{}}}', 7],
  ])('ADD with the configuration %j ends with code %i', async (input, code) => {
    await answerWith(() => '+');
    const { status, out } = await run('ADD', {}, input);
    expect(status).toBe(1);
    expect((JSON.parse(out) as Refusal).code).toBe(code);
  });

  test('ADD with a configuration longer than 1 MiB is refused, not cut', async () => {
    const { out } = await run('ADD', {}, `{"prevResult":{},"a":"${'x'.repeat(1 << 20)}"}`);
    expect((JSON.parse(out) as Refusal).code).toBe(5);
  });

  test('DEL, CHECK, GC and STATUS do not hold up a node without its node tunnel', async () => {
    enrol('shop');
    for (const command of ['DEL', 'CHECK', 'GC', 'STATUS'])
      expect(await run(command)).toEqual({ status: 0, out: '' });
    await answerWith(() => '-{"code":103}');
    expect((await run('DEL')).status).toBe(0);
    expect(await run('CHECK')).toEqual({ status: 1, out: '{"code":103}\n' });
    unlinkSync(join(directory, 'cni.sock'));
    writeFileSync(join(directory, 'cni.sock'), 'no socket');
    expect((await run('DEL')).status).toBe(0);
  });

  test('refuses a command of no version of the specification', async () => {
    expect((await run('PING')).status).toBe(1);
  });
});

function podOf(namespace: string) {
  return {
    CNI_CONTAINERID: 'c1',
    CNI_IFNAME: 'eth0',
    CNI_NETNS: '/proc/self/ns/net',
    CNI_ARGS: `IgnoreUnknown=1;K8S_POD_NAMESPACE=${namespace};K8S_POD_NAME=web-1;K8S_POD_UID=u1`,
  };
}

function asArgument(text: string): string {
  return text.startsWith('IgnoreUnknown') ? `CNI_ARGS=${text}` : text;
}
