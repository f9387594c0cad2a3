// A rotation of the mesh's root with real processes: two joined nodes that have nothing but the old root's file, traffic
// of two pods all the while, and in the end a controller and a tunnel that start anew.

import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { nodeFlags } from '../../cli/program-files.ts';
import { eventually } from '../demo/eventually.ts';
import type { Agent } from '../lab/agent.ts';
import { command } from '../lab/command.ts';
import { Lab, type LabHost } from '../lab/lab.ts';
import type { LabProcess } from '../lab/lab-process.ts';

const project = join(import.meta.dirname, '../..');
const isRoot = process.getuid?.() === 0;
if (!isRoot && process.env['CI'] !== undefined) throw new Error('Kernel tests need root in CI');
const controllerPort = 15012;
const apiPort = 8080;
/** The shortest life there is: a rotation takes four of them at most. */
const lifeSeconds = 10;
const rotationMs = 5 * lifeSeconds * 1000;

interface Rotation {
  readonly phase: string;
  readonly signing: string;
  readonly trusted: readonly string[];
}

describe.skipIf(!isRoot)('a rotation of the root (needs root)', () => {
  let lab: Lab;
  let nodes: LabHost[];
  let server: LabHost;
  let client: Agent;
  let control: Agent;
  let controller: LabProcess;
  let tunnels: LabProcess[];

  beforeAll(async () => {
    lab = Lab.open('rotation');
    nodes = ['node-1', 'node-2'].map((name) => lab.addNode(name));
    const [first, second] = nodes as [LabHost, LabHost];
    const clientPod = lab.addPod(first, { name: 'client', podNamespace: 'demo' });
    server = lab.addPod(second, { name: 'server', podNamespace: 'demo' });
    writeManifests([clientPod, server]);
    client = lab.agent(clientPod);
    control = lab.agent(lab.control);
    const api = [process.execPath, join(project, 'e2e/apps/api.ts'), '--pod', 'server'];
    await lab.spawn(server, { name: 'api', argv: api }).waitForLine(/listening/);
    controller = await startController();
    for (const node of nodes) join_(node);
    tunnels = await Promise.all(nodes.map((node) => startTunnel(node)));
    // Each node has one pod. Until both are captured requests go as plaintext, or wait for the other side to join.
    await Promise.all(
      tunnels.map((tunnel) => tunnel.waitForLine(/Pod captured/, { from: 0, timeoutMs: 60_000 })),
    );
  });

  afterAll(() => lab?.close());

  function writeManifests(pods: readonly LabHost[]): void {
    const objects: unknown[] = [
      {
        apiVersion: 'v1',
        kind: 'Namespace',
        metadata: { name: 'demo', labels: { 'weft.dev/mode': 'ambient' } },
      },
      {
        // A line for each connection would make the logs that are waited on long.
        apiVersion: 'weft.dev/v1alpha1',
        kind: 'MeshConfig',
        metadata: { name: 'default' },
        spec: { accessLog: 'FAILURES' },
      },
      {
        apiVersion: 'weft.dev/v1alpha1',
        kind: 'PeerAuthentication',
        metadata: { name: 'default', namespace: 'demo' },
        spec: { mtls: { mode: 'STRICT' } },
      },
    ];
    for (const { name } of nodes) objects.push({ apiVersion: 'v1', kind: 'Node', metadata: { name } });
    for (const { name, namespace, node, address } of pods) {
      const metadata = { name, namespace: 'demo', annotations: { 'weft.dev/netns': namespace } };
      const spec = { nodeName: node, serviceAccountName: name, containers: [{ name: 'app' }] };
      const status = { podIPs: [{ ip: address.v4 }, { ip: address.v6 }] };
      objects.push({ apiVersion: 'v1', kind: 'Pod', metadata, spec, status });
    }
    mkdirSync(join(lab.directory, 'config'));
    const text = objects.map((object) => JSON.stringify(object)).join('\n---\n');
    writeFileSync(join(lab.directory, 'config/mesh.yaml'), text);
  }

  const stateDir = (): string => join(lab.directory, 'state');
  const file = (name: string): string => join(lab.directory, name);
  const cli = (...args: string[]): string[] => [process.execPath, join(project, 'cli/main.ts'), ...args];

  async function startController(): Promise<LabProcess> {
    const argv = [process.execPath, join(project, 'controller/main.ts'), '--config', file('config')];
    argv.push('--state', stateDir(), '--address', `${lab.control.address.v4}:${controllerPort}`);
    argv.push('--certificate-life', `${lifeSeconds}`);
    const started = lab.spawn(lab.control, { name: 'controller', argv });
    const from = started.log.mark();
    await started.waitForLine(/controller is ready/, { from, timeoutMs: 20_000 });
    return started;
  }

  /** What an operator does once for a node: a token, and the root file as it is on that day. */
  function join_({ name }: LabHost): void {
    const token = command(cli('token', 'create', '--node', name, '--state', stateDir()));
    writeFileSync(file(`${name}.token`), token, { mode: 0o600 });
    copyFileSync(join(stateDir(), 'root-cert.pem'), file(`${name}.root-cert.pem`));
  }

  async function startTunnel(node: LabHost): Promise<LabProcess> {
    const { name } = node;
    const pins = '/sys/fs/bpf/weft-rotation';
    lab.own(pins);
    const argv = [process.execPath, ...nodeFlags.ztunnel, join(project, 'ztunnel/main.ts'), '--node', name];
    argv.push('--controller', `${lab.control.address.v4}:${controllerPort}`);
    argv.push('--token-file', file(`${name}.token`), '--root-cert', file(`${name}.root-cert.pem`));
    argv.push('--pin-dir', join(pins, name), '--state-dir', file(`${name}.state`));
    const tunnel = lab.spawn(node, { name: `ztunnel-${name}`, argv });
    const from = tunnel.log.mark();
    await tunnel.waitForLine(/configuration complete/, { from, timeoutMs: 20_000 });
    return tunnel;
  }

  async function rotation(): Promise<Rotation> {
    const page = { host: '127.0.0.1', port: 15_014, path: '/certificates', timeoutMs: 5_000 };
    return JSON.parse((await control.call('http', page)).body) as Rotation;
  }

  const reached = (phase: string): Promise<Rotation> =>
    eventually(
      `the rotation to be ${phase}`,
      async () => {
        const now = await rotation();
        return now.phase === phase ? now : undefined;
      },
      rotationMs,
    );

  /** All nodes find their controller again after it was killed. */
  async function restartController(): Promise<void> {
    const from = tunnels.map((tunnel) => tunnel.log.mark());
    await controller.stop('SIGKILL');
    controller = await startController();
    await Promise.all(
      tunnels.map((tunnel, index) =>
        tunnel.waitForLine(/controller\tstate="connected"/, {
          from: from[index] as number,
          timeoutMs: 20_000,
        }),
      ),
    );
  }

  test('breaks no connection, and nodes with the old root file stay joined', {
    timeout: 240_000,
  }, async () => {
    const target = { host: server.address.v4, port: apiPort };
    await eventually('the pods to reach each other', async () => {
      const { status } = await client.call('http', { ...target, path: '/', timeoutMs: 2_000 });
      return status === 200 ? true : undefined;
    });
    const before = await rotation();
    // What failed before the pods were captured is not the rotation's doing.
    const marks = tunnels.map(({ log }) => log.mark());
    await client.call('startLoad', { id: 'kept', kind: 'requests', ...target, concurrency: 1 });
    await client.call('startLoad', { id: 'new', kind: 'connections', ...target, concurrency: 1 });
    const rotate = lab.spawn(lab.control, {
      name: 'rotate',
      argv: cli('ca', 'rotate', '--state', stateDir()),
    });
    await rotate.waitForLine(/step +prepare/, { timeoutMs: 20_000 });
    expect((await reached('active')).signing).not.toBe(before.signing);
    await restartController();
    const after = await reached('stable');
    expect(after.trusted).not.toContain(before.signing);
    await restartController();
    const kept = await client.call('stopLoad', 'kept');
    const fresh = await client.call('stopLoad', 'new');
    const lines = tunnels.flatMap(({ log }, index) =>
      log.lines(marks[index]).filter((line) => line.includes(' error=')),
    );
    expect({ kept: kept.errors, fresh: fresh.errors, lines }).toEqual({ kept: {}, fresh: {}, lines: [] });
    expect(fresh.succeeded).toBeGreaterThan(100);
    for (const tunnel of tunnels) expect(tunnel.log.text()).not.toMatch(/TLS_FAILURE|IDENTITY_ERROR/);
  });

  test('is survived by a node that starts anew with the old root file', { timeout: 60_000 }, async () => {
    const [node] = nodes as [LabHost];
    await (tunnels[0] as LabProcess).stop('SIGTERM');
    tunnels[0] = await startTunnel(node);
    const target = { host: server.address.v4, port: apiPort };
    const status = await eventually('the pods to reach each other again', async () => {
      const answer = await client.call('http', { ...target, path: '/', timeoutMs: 2_000 });
      return answer.status;
    });
    expect(status).toBe(200);
  });
});
