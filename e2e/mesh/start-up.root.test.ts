// What a user sees when the programs can not start, or can not reach what they need: the exit status, one clear line
// for each problem, and readiness that names what is pending. Nothing of it disturbs a ztunnel that runs already.

import { type ChildProcess, spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { skipKernelTests, skipReason } from '../../bpf/testing/kernel-suite.ts';
import { eventually } from '../demo/eventually.ts';
import { command } from '../lab/command.ts';
import type { LabProcess } from '../lab/lab-process.ts';
import { callApi } from './calls.ts';
import { MeshLab, project } from './mesh-lab.ts';

const timeout = 60_000;
const ztunnel = join(project, 'ztunnel/main.ts');
const controller = join(project, 'controller/main.ts');

/** Enough to get past the flags; port 1 answers nobody. */
const plausible = [
  '--node',
  'n',
  '--controller',
  '127.0.0.1:1',
  '--token-file',
  '/dev/null',
  '--root-cert',
  '/dev/null',
];
plausible.push('--pin-dir', 'none', '--state-dir', 'none');

interface Ended {
  readonly status: number | null;
  readonly out: string;
  readonly err: string;
}

/** Runs a program to its end. */
function run(argv: readonly string[]): Promise<Ended> {
  const [program = '', ...args] = argv;
  const child: ChildProcess = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let out = '';
  let err = '';
  child.stdout?.on('data', (chunk) => (out += String(chunk)));
  child.stderr?.on('data', (chunk) => (err += String(chunk)));
  const timer = setTimeout(() => child.kill('SIGKILL'), 30_000);
  return new Promise((resolve) => {
    child.on('close', (status) => {
      clearTimeout(timer);
      resolve({ status, out, err });
    });
  });
}

/** Runs the ztunnel where something is missing: `take` runs first, in a mount namespace of its own. */
function without(take: string): Promise<Ended> {
  const script = `set -e; ${take}; exec "$@"`;
  return run(['unshare', '--mount', 'sh', '-c', script, 'sh', process.execPath, ztunnel, ...plausible]);
}

describe('flags that are wrong', () => {
  test(
    'end the ztunnel with 64 and every problem at once',
    async () => {
      const { status, err } = await run([
        process.execPath,
        ztunnel,
        '--workers',
        '0',
        '--admin-port',
        'x',
        '--log-level',
        'loud',
      ]);
      expect(status).toBe(64);
      const flags = ['node', 'controller', 'token-file', 'root-cert', 'workers', 'log-level', 'admin-port'];
      for (const flag of flags)
        expect(err).toMatch(new RegExp(`^weft ztunnel: .*--${flag} .*(required|must be)`, 'm'));
      expect(err.trim().split('\n')).toHaveLength(flags.length);
    },
    timeout,
  );

  test(
    'end the controller with 64 and every problem at once',
    async () => {
      const { status, err } = await run([
        process.execPath,
        controller,
        '--certificate-life',
        '1',
        '--address',
        'nonsense',
      ]);
      expect(status).toBe(64);
      for (const flag of ['state', 'address', 'certificate-life']) expect(err).toContain(`--${flag} `);
    },
    timeout,
  );

  test.each([ztunnel, controller])(
    'that are unknown are named (%s)',
    async (program) => {
      const { status, err } = await run([process.execPath, program, '--wrokers', '2']);
      expect([status, err]).toEqual([64, expect.stringContaining('--wrokers')]);
    },
    timeout,
  );
});

describe.skipIf(skipKernelTests)(`a machine that lacks something${skipReason}`, () => {
  test(
    'privileges: 69, and says which',
    async () => {
      const drop = ['setpriv', '--bounding-set=-all', '--inh-caps=-all'];
      const { status, err } = await run([...drop, process.execPath, ztunnel, ...plausible]);
      expect(status).toBe(69);
      expect(err).toMatch(/^weft ztunnel: privileges: .*CAP_SYS_ADMIN.*root/m);
    },
    timeout,
  );

  test(
    'libbpf: 69, and names the package',
    async () => {
      const library = 'ldconfig -p | sed -n "s/.*libbpf.so.1 .*=> //p" | head -1';
      const { status, err } = await without(`mount --bind /dev/null "$(${library})"`);
      expect([status, err]).toEqual([69, expect.stringContaining('install the package libbpf1')]);
    },
    timeout,
  );

  test(
    'cgroup2: 69, and says how to mount it',
    async () => {
      const { status, err } = await without(
        'for at in $(findmnt -rn -t cgroup2 -o TARGET); do umount -l "$at"; done',
      );
      expect([status, err]).toEqual([69, expect.stringContaining('mount -t cgroup2')]);
    },
    timeout,
  );

  test(
    'bpffs, and the right to mount one: 1, and says so',
    async () => {
      const pins = ['--pin-dir', '/nowhere/weft'];
      const { status, out } = await run([process.execPath, ztunnel, ...plausible, ...pins]);
      expect(status).toBe(1);
      expect(out).toMatch(/bpf/i);
    },
    timeout,
  );
});

describe.skipIf(skipKernelTests)(`a controller that can not be reached, or refuses${skipReason}`, () => {
  let mesh: MeshLab;

  beforeAll(async () => {
    mesh = await MeshLab.open({
      name: 'meshstrt',
      pods: [
        { name: 'web', app: 'web', node: 'node-1' },
        { name: 'api', app: 'api', node: 'node-1' },
        { name: 'other', app: 'other', node: 'node-2' },
      ],
    });
  }, timeout);

  let restarted: LabProcess | undefined;

  afterEach(async () => {
    await restarted?.stop('SIGTERM', 20_000);
    restarted = undefined;
  });

  afterAll(async () => {
    await mesh?.close();
  });

  const node = () => {
    const host = mesh.nodes[1];
    if (host === undefined) throw new Error('No second node');
    return host;
  };

  /** Starts node-2's ztunnel again with other flags, and awaits this line of its log and what readiness says. */
  async function stuck(
    name: string,
    flags: readonly string[],
    line: RegExp,
    pending = 'configuration from the controller, pods of this node',
  ): Promise<{ process: LabProcess; line: string }> {
    await mesh.tunnel('node-2').stop('SIGTERM', 30_000);
    const process_ = mesh.program(node(), name, mesh.tunnelArguments(node(), flags));
    restarted = process_;
    const found = await process_.waitForLine(line, { timeoutMs: 30_000 });
    const { status, body } = await mesh.ask('node-2', 15021, '/healthz/ready');
    expect(status).toBe(500);
    expect(body).toBe(`not ready, pending: ${pending}\n`);
    return { process: process_, line: found };
  }

  test(
    'with a wrong token it keeps trying and says that the token is refused',
    async () => {
      const file = join(mesh.lab.directory, 'wrong.token');
      writeFileSync(file, 'weft-node-2.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n');
      const { process: tunnel } = await stuck(
        'wrong-token',
        ['--token-file', file],
        /No stream to the controller.*reason=.*(UNAUTHENTICATED|refuse)/i,
      );
      expect(await tunnel.stop()).toBe(0);
    },
    timeout,
  );

  test(
    'with an expired token it says so',
    async () => {
      const file = join(mesh.lab.directory, 'expired.token');
      const create = [
        'token',
        'create',
        '--node',
        'node-2',
        '--state',
        mesh.stateDirectory,
        '--lifetime',
        '1',
      ];
      writeFileSync(file, command([process.execPath, join(project, 'cli/main.ts'), ...create]));
      const made = performance.now();
      await eventually('expired: the token', async () =>
        performance.now() > made + 1_100 ? true : undefined,
      );
      const { process: tunnel } = await stuck(
        'expired-token',
        ['--token-file', file],
        /No stream to the controller.*reason=.*(UNAUTHENTICATED|refuse)/i,
      );
      expect(await tunnel.stop()).toBe(0);
    },
    timeout,
  );

  test(
    'with the token of another node it says so and does not get ready',
    async () => {
      const file = join(mesh.lab.directory, 'node-1.token');
      await stuck(
        'other-token',
        ['--token-file', file],
        /token is of node \\?"node-1\\?", but this client runs on node/,
      );
    },
    timeout,
  );

  test(
    'with a root certificate that is not the controller’s it trusts nobody',
    async () => {
      const file = join(mesh.lab.directory, 'other-root.pem');
      const { TestAuthority } = await import('../../mesh/io/testing/authority.ts');
      writeFileSync(file, (await TestAuthority.create()).rootPem);
      const { process: tunnel } = await stuck(
        'other-root',
        ['--root-cert', file],
        /No stream to the controller.*reason=/,
      );
      expect(await tunnel.stop()).toBe(0);
    },
    timeout,
  );

  test.each([
    ['missing', undefined],
    ['garbage', 'this is no certificate\n'],
  ])(
    'with a root certificate file that is %s it says which file',
    async (what, content) => {
      const file = join(mesh.lab.directory, `${what}-root.pem`);
      if (content !== undefined) writeFileSync(file, content);
      await mesh.tunnel('node-2').stop('SIGTERM', 30_000);
      const tunnel = mesh.program(
        node(),
        `root-${what}`,
        mesh.tunnelArguments(node(), ['--root-cert', file]),
      );
      const line = await tunnel.waitForLine(/root cert|root\.pem/i, { timeoutMs: 30_000 });
      expect(line).toContain(file);
      await tunnel.stop();
    },
    timeout,
  );

  test(
    'away at the start: it keeps trying, and gets ready when the controller comes',
    async () => {
      await mesh.controller.stop('SIGTERM');
      const { process: tunnel } = await stuck('early', [], /No stream to the controller/);
      await mesh.startController();
      await eventually(
        'ready: the early ztunnel',
        async () => ((await mesh.ask('node-2', 15021, '/healthz/ready')).status === 200 ? true : undefined),
        30_000,
      );
      expect(await tunnel.stop()).toBe(0);
    },
    timeout,
  );

  test(
    'a port in use ends the second ztunnel with the port’s number, and the first one serves on',
    async () => {
      const [first] = mesh.nodes;
      if (first === undefined) throw new Error('No node');
      const second = mesh.program(first, 'second', mesh.tunnelArguments(first));
      expect(await second.stop('SIGCONT', 30_000)).toBe(1);
      expect(second.log.text()).toMatch(/15000.*in use|EADDRINUSE.*15000/);
      const web = mesh.pod('web');
      expect((await callApi(web, mesh.pod('api').v4)).client).toBe(web.v4);
    },
    timeout,
  );

  test(
    'a controller whose port is in use ends with the address, and the first one serves on',
    async () => {
      const second = mesh.program(mesh.lab.control, 'second-controller', [
        'controller/main.ts',
        ...['--config', join(mesh.lab.directory, 'config'), '--state', join(mesh.lab.directory, 'state-2')],
        ...['--address', `${mesh.lab.control.address.v4}:15012`, '--admin', '127.0.0.1:0'],
      ]);
      expect(await second.stop('SIGCONT', 30_000)).toBe(1);
      expect(second.log.text()).toMatch(/15012/);
    },
    timeout,
  );

  test.each([
    ['directory of manifests', ['--config', '/nowhere/manifests'], /\/nowhere\/manifests/],
    ['directory of state that can not be made', ['--state', '/dev/null/weft'], /\/dev\/null\/weft/],
  ])(
    'a controller without a %s ends and says which',
    async (_what, flags, message) => {
      const { status, out, err } = await run([
        process.execPath,
        controller,
        ...['--config', join(mesh.lab.directory, 'config'), '--state', join(mesh.lab.directory, 'state-3')],
        ...['--address', '127.0.0.1:0', '--admin', '127.0.0.1:0', ...flags],
      ]);
      expect(status).toBe(1);
      expect(`${out}${err}`).toMatch(message);
    },
    timeout,
  );
});
