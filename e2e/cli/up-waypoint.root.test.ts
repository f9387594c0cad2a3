// `weft up` with a Gateway: a waypoint runs in its pod's network namespace as long as the Gateway is there, and the
// requests of the mesh go through it.

import { mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { stringify } from 'yaml';
import type { Agent } from '../lab/agent.ts';
import { Lab, type LabHost } from '../lab/lab.ts';
import type { LabProcess } from '../lab/lab-process.ts';
import { apiPort, gatewayObject, namespaceObject, project, serviceObject } from '../mesh/mesh-lab.ts';

const isRoot = process.getuid?.() === 0;
const serviceAddress = '10.96.7.1';

describe.skipIf(!isRoot)('weft up with a Gateway (needs root)', () => {
  let lab: Lab;
  let machine: LabHost;
  let directory: string;
  let running: LabProcess;
  let client: Agent;

  beforeAll(async () => {
    lab = Lab.open('upway');
    machine = lab.addNode('machine');
    directory = mkdtempSync(join(tmpdir(), 'weft-up-waypoint-'));
    mkdirSync(join(directory, 'config'));
    const pods = (['web', 'api', 'gate'] as const).map((name) =>
      lab.addPod(machine, { name, podNamespace: 'shop' }),
    );
    apply('namespace', namespaceObject('shop', true, { 'weft.dev/waypoint': 'gate' }));
    apply('service', serviceObject('api', serviceAddress));
    apply('gateway', gatewayObject('gate'));
    for (const pod of pods) apply(`pod-${pod.name}`, podOf(pod));
    const [web, api] = pods as [LabHost, LabHost];
    client = lab.agent(web);
    const app = lab.spawn(api, {
      name: 'app',
      argv: [process.execPath, join(project, 'e2e/apps/api.ts'), '--pod', 'api'],
    });
    await app.waitForLine(/listening/);
    const argv = [
      process.execPath,
      join(project, 'cli/main.ts'),
      'up',
      '--config',
      join(directory, 'config'),
    ];
    argv.push('--node', 'machine', '--state', join(directory, 'state'));
    running = lab.spawn(machine, { name: 'up', argv });
  });

  afterAll(async () => {
    await lab?.close();
    rmSync(directory, { recursive: true });
  });

  function apply(name: string, object: object): void {
    const file = join(directory, 'config', `${name}.yaml`);
    writeFileSync(`${file}.new`, stringify(object));
    renameSync(`${file}.new`, file);
  }

  function podOf({ name, namespace, address }: LabHost): object {
    const ofGateway = name === 'gate' ? { 'gateway.networking.k8s.io/gateway-name': name } : {};
    return {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: {
        name,
        namespace: 'shop',
        labels: { app: name, ...ofGateway },
        annotations: { 'weft.dev/netns': namespace },
      },
      spec: { nodeName: 'machine', serviceAccountName: name, containers: [{ name }] },
      status: { podIPs: [{ ip: address.v4 }, { ip: address.v6 }] },
    };
  }

  test('runs the waypoint of the Gateway, and requests go through it with the identity of who asks', async () => {
    await running.waitForLine(/waypoint\tserving/, { timeoutMs: 30_000 });
    await running.waitForLine(/Pod captured.*api/, { from: 0, timeoutMs: 30_000 });
    await running.waitForLine(/Pod captured.*web/, { from: 0, timeoutMs: 30_000 });
    const from = running.log.mark();
    const request = { host: serviceAddress, port: apiPort, path: '/through', timeoutMs: 10_000 };
    const answer = await client.call('http', request);
    expect([answer.status, JSON.parse(answer.body).pod]).toEqual([200, 'api']);
    const line = await running.waitForLine(/request complete/, { from, timeoutMs: 10_000 });
    expect(line).toContain('path="/through"');
    expect(line).toContain('source_identity="spiffe://cluster.local/ns/shop/sa/web"');
    expect(line).toContain('response_code=200');
  });

  test('ends the waypoint once its Gateway is gone, starts it again with it, and all with the end', async () => {
    const from = running.log.mark();
    rmSync(join(directory, 'config', 'gateway.yaml'));
    await running.waitForLine(/the waypoint shop\/gate ended with status 0/, { from, timeoutMs: 20_000 });
    apply('gateway', gatewayObject('gate'));
    await running.waitForLine(/waypoint\tserving/, { from, timeoutMs: 20_000 });
    expect(await running.stop('SIGINT', 40_000)).toBe(0);
    expect(readdirSync(join(directory, 'state', 'tokens'))).toEqual([]);
  });
});
