// The CNI step with everything but a kubelet: the real plugin, the real socket, real namespaces and programs. The pod is
// not a workload of the model yet, as at a real start.

import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { skipKernelTests, skipReason } from '../bpf/testing/kernel-suite.ts';
import { buildShim } from '../cni/build.ts';
import { makeNodePod, makeWorkload } from '../mesh/model/fixture.ts';
import { emptyDelta } from '../mesh/model/model.ts';
import { formatSpiffeId, identityOf } from '../mesh/model/spiffe-id.ts';
import { systemClock } from '../mesh/runtime/clock.ts';
import { createLogger } from '../mesh/runtime/logger.ts';
import { Store } from '../mesh/state/store.ts';
import { NodeCni } from './node-cni.ts';
import { PodCapturer } from './pod-capturer.ts';
import { PodManager } from './pod-manager.ts';
import { openPodNetnsLocator } from './pod-netns.ts';
import { DataPlaneRig, type RigPod, tunnelsFrom } from './testing/data-plane-rig.ts';
import { echo, type PodServer, serve } from './testing/pod-sockets.ts';
import { TestCertificates } from './testing/pod-world.ts';

const port = 8080;
const logger = createLogger({ component: 'cni', level: 'silent' });

describe.skipIf(skipKernelTests)(`from the first packet${skipReason}`, () => {
  let rig: DataPlaneRig;
  let root: string;
  let server: RigPod;
  let app: PodServer;
  let starter: RigPod;
  let pods: PodManager;
  let cni: NodeCni;
  const counted: string[] = [];
  const starting = makeNodePod('starter', {
    netns: 'pod:0f0e0d0c-0000-4000-8000-00000000abcd',
    starting: makeWorkload('starter'),
  });

  beforeAll(async () => {
    root = mkdtempSync(join(tmpdir(), 'weft-first-'));
    mkdirSync(join(root, 'conf'));
    buildShim(join(root, 'built'));
    rig = await DataPlaneRig.open();
    server = await rig.addPod('server', { node: 'node-2' });
    app = serve(server, port, echo);
    starter = await rig.addPod('starter', { enrolled: false });
    await rig.apply({ removed: { workloads: [starter.workload.uid] } });
    const certificates = new TestCertificates();
    pods = openPods(certificates);
    cni = await NodeCni.open({
      nodeDirectory: join(root, 'node'),
      directories: { conf: join(root, 'conf'), bin: join(root, 'bin') },
      program: join(root, 'built'),
      pods,
      isCurrent: () => true,
      metrics: {
        cniRequest: (command, result) => counted.push(`${command} ${result}`),
        cniChained: () => {},
      },
      clock: systemClock,
      logger,
    });
    await rig.apply({ pods: [starting] });
    await rig.renew(formatSpiffeId(identityOf(starting)));
    certificates.issue(identityOf(starting));
  });
  afterAll(async () => {
    await cni.close();
    pods.close();
    await app[Symbol.asyncDispose]();
    await rig[Symbol.asyncDispose]();
    rmSync(root, { recursive: true });
  });

  function openPods(certificates: TestCertificates): PodManager {
    const { redirect, worker } = starter.node;
    const manager = new PodManager({
      node: 'node-1',
      capturer: new PodCapturer({
        redirect,
        workers: [worker],
        dns: { addPod: () => [], removePod: () => {} },
        sameNode: undefined,
      }),
      netns: openPodNetnsLocator(),
      certificates,
      metrics: { podStarted: () => {}, podStopped: () => {}, podsPending: () => {} },
      onSettled: () => {},
      clock: systemClock,
      logger,
    });
    const store = new Store();
    store.apply({ ...emptyDelta, pods: [starting] });
    manager.reconcile(store.snapshot());
    return manager;
  }

  /** As a container runtime and the pod's first process, which connects as soon as the plugin has ended. */
  async function start(command: string): Promise<string> {
    const ips = [starter.ipv4, starter.ipv6].map((address) => ({ address: `${address}/24` }));
    const config = { cniVersion: '1.0.0', name: 'pods', prevResult: { cniVersion: '1.0.0', ips } };
    writeFileSync(join(root, 'config.json'), JSON.stringify(config));
    const connect = `exec 3<>/dev/tcp/${server.ipv4}/${port}; echo ping >&3; read -t 10 answer <&3; echo $answer`;
    const script = `"$0" < "$1" > /dev/null && exec nsenter --net=${starter.netnsPath} bash -c '${connect}'`;
    const env = {
      PATH: process.env['PATH'],
      CNI_COMMAND: command,
      CNI_CONTAINERID: 's1',
      CNI_NETNS: starter.netnsPath,
      CNI_ARGS: `K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web;K8S_POD_UID=${starting.netns.slice(4)}`,
      WEFT_NODE_DIRECTORY: join(root, 'node'),
    };
    const argv = ['-c', script, join(root, 'bin/weft-cni'), join(root, 'config.json')];
    return (await promisify(execFile)('bash', argv, { env })).stdout;
  }

  test('who connects right after ADD is in a tunnel, with the identity of its pod', async () => {
    const from = starter.node.log.length;
    expect(await start('ADD')).toBe('ping\n');
    expect(counted).toEqual(['ADD captured']);
    expect(tunnelsFrom(starter, server)).toBe(1);
    const line = await server.node.logLine(/connection complete.*direction="inbound"/);
    expect(line).toContain(`src.identity="${formatSpiffeId(identityOf(starting))}"`);
    await starter.node.logLine(/connection complete.*dst\.workload="server"/, from);
  });

  test('after DEL the namespace is nobody any more', async () => {
    const from = server.node.log.length;
    expect(await start('DEL')).toBe('ping\n');
    expect(counted.at(-1)).toBe('DEL released');
    const line = await server.node.logLine(/connection complete.*direction="inbound"/, from);
    expect(line).not.toContain('src.identity');
  });
});
