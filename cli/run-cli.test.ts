import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { JoinTokens } from '../controller/identity/join-tokens.ts';
import { systemClock } from '../mesh/runtime/clock.ts';
import { runCli } from './run-cli.ts';

interface Run {
  readonly status: number;
  readonly out: string;
  readonly err: string;
}

async function run(...argv: string[]): Promise<Run> {
  let out = '';
  let err = '';
  const status = await runCli(argv, {
    out: (text) => {
      out += text;
    },
    err: (text) => {
      err += text;
    },
  });
  return { status, out, err };
}

const commands = [
  'up',
  'controller',
  'ztunnel',
  'validate',
  'status',
  'config dump',
  'token create',
  'ca status',
  'ca rotate',
];

describe('runCli()', () => {
  test.each(commands)('prints help with examples for "%s"', async (command) => {
    const { status, out } = await run(...command.split(' '), '--help');
    expect(status).toBe(0);
    expect(out).toMatch(/Examples?:\n {2}\$ .*weft /);
  });

  test.each([
    [['stauts'], 'status'],
    [['config', 'dmp'], 'dump'],
    [['controller', '--confg', 'x'], '--config'],
    [['token', 'create', '--nod', 'x'], '--node'],
  ])('names the nearest right word for %j', async (argv, meant) => {
    const { status, err } = await run(...argv);
    expect(status).toBe(64);
    expect(err).toContain(`Did you mean ${meant}?`);
  });

  test.each([
    [['controller', '--config', 'a'], /--state \(or WEFT_STATE\) is required/],
    [['controller', '--config', 'a', '--address', '1.2.3:1'], /--address must be IP:PORT.*"1\.2\.3:1"/],
    [['ztunnel', '--controller', 'nowhere'], /--controller must be HOST:PORT/],
    [['ztunnel', '--workers', '-1'], /--workers must be a whole number from 1 to 64, got "-1"/],
    [['up', '--workers', 'abc'], /--config.*is required[^]*--workers must be/],
    [['token', 'create', '--node', 'n', '--lifetime', '0'], /whole number of seconds/],
    [['status', '--admin', 'ftp://x'], /http URL/],
    [['validate'], /missing required argument 'dir'/],
    [['up', 'extra', '--config', 'x'], /too many arguments/],
  ])('refuses %j as wrong use', async (argv, message) => {
    const { status, err } = await run(...argv);
    expect(status).toBe(64);
    expect(err).toMatch(message);
  });

  test('rarely changed settings are in a section of their own', async () => {
    const { out } = await run('ztunnel', '--help');
    const [common = '', advanced = ''] = out.split('Advanced options:');
    expect(common).toContain('--workers <count>');
    expect(common).not.toContain('--ping-after-ms');
    expect(advanced).toMatch(/--ping-after-ms <ms> [^]*\(default: 10000\)/);
  });

  test('prints the version', async () => {
    expect(await run('--version')).toMatchObject({
      status: 0,
      out: expect.stringMatching(/^\d+\.\d+\.\d+\n$/),
    });
  });
});

describe('weft token create and validate', () => {
  let directory: string;

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'weft-cli-'));
  });
  afterEach(() => rmSync(directory, { recursive: true }));

  test('makes a token that the controller takes for exactly this node', async () => {
    const { status, out } = await run('token', 'create', '--node', 'node-7', '--state', directory);
    expect(status).toBe(0);
    const tokens = new JoinTokens({ stateDir: directory, clock: systemClock });
    const answer = await tokens.authenticate(`Bearer ${out.trim()}`);
    expect(answer).toMatchObject({ ok: true, caller: { node: 'node-7' } });
  });

  test('refuses a node name that is none, with 64', async () => {
    const { status, err } = await run('token', 'create', '--node', 'Not_A_Node', '--state', directory);
    expect(status).toBe(64);
    expect(err).toContain('"Not_A_Node"');
  });

  test('validate ends with 0 for good manifests and 1 with file and line for bad ones', async () => {
    const file = join(directory, 'a.yaml');
    writeFileSync(file, 'apiVersion: v1\nkind: Namespace\nmetadata:\n  name: shop\n');
    expect((await run('validate', directory)).status).toBe(0);
    writeFileSync(
      file,
      'apiVersion: weft.dev/v1alpha1\nkind: PeerAuthentication\nmetadata:\n  name: a\nspec:\n  mtsl: {}\n',
    );
    const bad = await run('validate', directory);
    expect(bad.status).toBe(1);
    expect(bad.out).toMatch(/a\.yaml:6:\d+: error: .*mtsl/);
  });

  test('validate of a directory that is not there ends with 1 and names it', async () => {
    const { status, err } = await run('validate', join(directory, 'nowhere'));
    expect(status).toBe(1);
    expect(err).toContain('nowhere');
  });
});

describe('weft status and config dump', () => {
  let server: Server;
  let url: string;
  let dump: unknown;

  beforeEach(async () => {
    server = createServer((request, response) => {
      response.statusCode = request.url === '/config_dump' ? 200 : 404;
      response.end(JSON.stringify(dump));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  afterEach(() => new Promise((resolve) => server.close(resolve)));

  const info = { name: 'web', namespace: 'shop' };

  test('status ends with 0 when every pod is up, and names pods and certificates', async () => {
    const certChain = [{ serialNumber: '1', expirationTime: '2026-01-01T00:00:00Z' }];
    const certificates = [
      { identity: 'spiffe://cluster.local/ns/shop/sa/web', state: 'Available', certChain },
    ];
    dump = {
      certificates,
      workloadState: { 1: { state: 'Up', info } },
      workloads: [1, 2],
      services: [],
      policies: [],
    };
    const { status, out } = await run('status', '--admin', url);
    expect(status).toBe(0);
    expect(out).toMatch(/2 workloads/);
    expect(out).toMatch(/✓ shop\/web/);
    expect(out).toMatch(/✓ spiffe:.*until 2026-01-01/);
  });

  test('status ends with 1 when a pod is not captured', async () => {
    dump = { workloadState: { 1: { state: 'Pending', info } } };
    const { status, out } = await run('status', '--admin', url);
    expect(status).toBe(1);
    expect(out).toMatch(/✗ shop\/web +Pending/);
  });

  test('config dump prints what the ztunnel says', async () => {
    dump = { version: 'x' };
    expect(await run('config', 'dump', '--admin', url)).toMatchObject({
      status: 0,
      out: '{"version":"x"}\n',
    });
  });

  test('both say so when no ztunnel answers', async () => {
    await new Promise((resolve) => server.close(resolve));
    for (const command of [['status'], ['config', 'dump']]) {
      const { status, err } = await run(...command, '--admin', url);
      expect(status).toBe(1);
      expect(err).toMatch(/No ztunnel answers.*ECONNREFUSED/);
    }
  });
});
