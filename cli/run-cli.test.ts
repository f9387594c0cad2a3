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
  'waypoint',
  'validate',
  'status',
  'config dump',
  'token create',
  'token list',
  'token revoke',
  'uncapture',
  'ca status',
  'ca rotate',
  'install',
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
    [
      ['waypoint', '--gateway', 'gate'],
      /--gateway must be NAMESPACE\/NAME of a Gateway, got "gate"[\s\S]*--controller .* is required/,
    ],
    [['ztunnel', '--workers', '-1'], /--workers must be a whole number from 1 to 64, got "-1"/],
    [['up', '--workers', 'abc'], /--config.*is required[^]*--workers must be/],
    [['token', 'create', '--node', 'n', '--lifetime', '0'], /whole number of seconds/],
    [['token', 'create'], /"--node <name>" or "--waypoint <namespace\/name>"/],
    [['token', 'create', '--node', 'n', '--waypoint', 'shop/gate'], /one of both/],
    [
      ['token', 'create', '--waypoint', 'gate', '--state', '/nonexistent'],
      /"gate" is not a namespace and a name/,
    ],
    [['status', '--admin', 'ftp://x'], /http URL/],
    [['uncapture'], /Either --node or --pin-dir/],
    [['uncapture', '--node', 'n', '--pin-dir', 'd'], /Either --node or --pin-dir/],
    [['token', 'revoke'], /missing required argument 'id'/],
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

  test('makes a token of a waypoint, which list shows as one', async () => {
    const { out } = await run('token', 'create', '--waypoint', 'shop/gate', '--state', directory);
    const tokens = new JoinTokens({ stateDir: directory, clock: systemClock });
    const answer = await tokens.authenticate(`Bearer ${out.trim()}`);
    expect(answer).toMatchObject({ ok: true, caller: { kind: 'waypoint', gateway: 'shop/gate' } });
    expect((await run('token', 'list', '--state', directory)).out).toContain('waypoint shop/gate');
  });

  test('refuses a node name that is none, with 64', async () => {
    const { status, err } = await run('token', 'create', '--node', 'Not_A_Node', '--state', directory);
    expect(status).toBe(64);
    expect(err).toContain('"Not_A_Node"');
  });

  test('list shows each token with its node, and revoke ends it', async () => {
    const made = await run('token', 'create', '--node', 'node-7', '--state', directory);
    const id = made.out.split('.')[1] as string;
    const listed = await run('token', 'list', '--state', directory);
    expect(listed.out).toMatch(new RegExp(`^${id} +node-7 +until +\\d{4}-`));
    expect(listed.out).not.toContain(made.out.split('.')[2] as string);
    expect((await run('token', 'revoke', id, '--state', directory)).status).toBe(0);
    const tokens = new JoinTokens({ stateDir: directory, clock: systemClock });
    expect(await tokens.authenticate(`Bearer ${made.out.trim()}`)).toMatchObject({ ok: false });
    expect((await run('token', 'list', '--state', directory)).err).toContain('No join tokens');
  });

  test('revoke of a token that is not there ends with 1 and says how to find it', async () => {
    const { status, err } = await run('token', 'revoke', '0123456789abcdef', '--state', directory);
    expect(status).toBe(1);
    expect(err).toMatch(/no token "0123456789abcdef".*weft token list/);
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

describe('weft status, config dump and uncapture', () => {
  let server: Server;
  let url: string;
  let dump: unknown;
  let controller: Record<string, unknown>;
  const status = (...more: string[]) => run('status', '--admin', url, '--controller-admin', url, ...more);

  beforeEach(async () => {
    controller = { '/debug/problems': [], '/statuses': [] };
    server = createServer((request, response) => {
      const body = request.url === '/config_dump' ? dump : controller[request.url as string];
      response.statusCode = body === undefined ? 404 : 200;
      response.end(JSON.stringify(body));
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
      workloadState: { 1: { state: 'Up', earlierConnections: 3, info } },
      workloads: [1, 2],
      services: [],
      policies: [],
    };
    const { status: code, out } = await status();
    expect(code).toBe(0);
    expect(out).toMatch(/2 workloads/);
    expect(out).toMatch(/controller +accepts every object/);
    expect(out).toMatch(/✓ shop\/web.*, 3 from before it was captured/);
    expect(out).toMatch(/✓ spiffe:.*until 2026-01-01/);
  });

  test('status ends with 1 when a pod is not captured, and says why', async () => {
    dump = { workloadState: { 1: { state: 'Failed', reason: 'No network namespace "web"', info } } };
    const { status: code, out } = await status();
    expect(code).toBe(1);
    expect(out).toMatch(/✗ shop\/web +Failed: No network namespace "web"/);
  });

  test('status of a waypoint ends with 0 when it is ready, else with 1 and what it waits for', async () => {
    const certificates = [
      {
        identity: 'spiffe://cluster.local/ns/shop/sa/gate',
        state: 'Available',
        certChain: [{ expirationTime: '2026' }],
      },
    ];
    const load = { connections: 3, requests: 1 };
    dump = { waypoint: { gateway: 'shop/gate', ready: true, load }, certificates, routings: [1] };
    const good = await status();
    expect(good.status).toBe(0);
    expect(good.out).toMatch(/1 routings/);
    expect(good.out).toMatch(/✓ shop\/gate +3 connections, 1 requests/);
    dump = { waypoint: { gateway: 'shop/gate', ready: false, pending: ['certificate'] } };
    const waiting = await status();
    expect([waiting.status, /✗ shop\/gate +not ready, waits for: certificate/.test(waiting.out)]).toEqual([
      1,
      true,
    ]);
    dump = { waypoint: { gateway: 'shop/gate', ready: false, unknown: true } };
    expect((await status()).out).toMatch(/✗ shop\/gate +the controller knows no such Gateway/);
  });

  test('status shows problems of files and bad conditions of objects, which do not count', async () => {
    dump = {};
    controller['/debug/problems'] = [{ text: 'a.yaml:3:1: error: Unknown kind' }];
    const conditions = [
      { type: 'Accepted', status: 'True', reason: 'Accepted', message: 'In force' },
      { type: 'ResolvedRefs', status: 'False', reason: 'NotFound', message: 'No Service "api"' },
    ];
    controller['/statuses'] = [{ kind: 'TrafficPolicy', namespace: 'shop', name: 'api', conditions }];
    const { status: code, out } = await status();
    expect(code).toBe(0);
    expect(out).toContain('✗ a.yaml:3:1: error: Unknown kind\n');
    expect(out).toContain('✗ TrafficPolicy shop/api: ResolvedRefs False (NotFound): No Service "api"\n');
    expect(out).not.toContain('In force');
  });

  test('status of a node without a controller beside it says so', async () => {
    dump = {};
    controller = {};
    const { status: code, out } = await status();
    expect(code).toBe(0);
    expect(out).toMatch(/controller +none answers at http/);
  });

  test('uncapture ends with 1 when nothing is pinned, and for a directory of something else', async () => {
    const nothing = await run('uncapture', '--node', 'no.such-node', '--admin', url);
    expect(nothing.status).toBe(1);
    expect(nothing.err).toMatch(/weft\/no-such-node": nothing is pinned there/);
    const other = await run('uncapture', '--pin-dir', '/', '--admin', url);
    expect(other.status).toBe(1);
    expect(other.err).toContain('something else');
  });

  test('uncapture leaves an instance alone whose ztunnel runs', async () => {
    const pins = mkdtempSync(join(tmpdir(), 'weft-pins-'));
    dump = { config: { node: 'node-1', 'pin-dir': pins } };
    const { status: code, err } = await run('uncapture', '--pin-dir', pins, '--admin', url);
    rmSync(pins, { recursive: true });
    expect(code).toBe(1);
    expect(err).toMatch(/ztunnel of node "node-1" runs/);
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
