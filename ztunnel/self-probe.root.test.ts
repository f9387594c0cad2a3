// Self-probes on the real kernel: what proves a pod's capture, what each kind of damage looks like, and that no packet to
// the reserved destination leaves a pod whatever is broken.

import { readFileSync, writeFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { detachLinks } from '../bpf/testing/detach-links.ts';
import { skipKernelTests, skipReason } from '../bpf/testing/kernel-suite.ts';
import { withNetns } from '../mesh/io/netns.ts';
import { systemClock } from '../mesh/runtime/clock.ts';
import { ports } from './ports.ts';
import { probeOutbound, type ProbeResult } from './self-probe.ts';
import type { IpFamily } from './self-probe-proof.ts';
import { DataPlaneRig, type RigPod } from './testing/data-plane-rig.ts';

describe.skipIf(skipKernelTests)(`a self-probe${skipReason}`, () => {
  let rig: DataPlaneRig;
  let pod: RigPod;

  beforeEach(async () => {
    rig = await DataPlaneRig.open();
    pod = await rig.addPod('web');
  });

  afterEach(async () => {
    await rig[Symbol.asyncDispose]();
  });

  function probe(family: IpFamily, of: RigPod = pod): Promise<ProbeResult> {
    const { flows, selfProbeSecret: secret } = of.node;
    const target = { netnsPath: of.netnsPath, podUid: of.workload.uid, family };
    return probeOutbound(target, { flowMaps: flows, secret, clock: systemClock, timeoutMs: 500 });
  }

  /** TCP segments that a namespace has sent since it was made, by its own count. */
  function segmentsSent(): number {
    const text = withNetns(pod.netnsPath, () => readFileSync('/proc/thread-self/net/snmp', 'utf8'));
    const [names = [], values = []] = text
      .split('\n')
      .filter((line) => line.startsWith('Tcp:'))
      .map((line) => line.split(' '));
    return Number(values[names.indexOf('OutSegs')]);
  }

  it.each(['ipv4', 'ipv6'] as const)('is answered by the data worker, over %s', async (family) => {
    const proof = { process: process.pid, worker: 0, podUid: pod.workload.uid };
    expect(await probe(family)).toEqual({ kind: 'proved', proof });
    expect(await pod.node.connections()).toEqual([]);
    expect(pod.node.log).toEqual([]);
  });

  it.each(['ipv4', 'ipv6'] as const)(
    'says that a pod the kernel does not know is bypassed, and sends nothing, over %s',
    async (family) => {
      pod.node.redirect.detach(pod.workload.uid);
      const before = segmentsSent();
      expect(await probe(family)).toEqual({ kind: 'bypassed' });
      expect(segmentsSent()).toBe(before);
    },
  );

  it('says that a pod is bypassed when somebody detached the hooks, and sends nothing', async () => {
    detachLinks('cgroup');
    const before = segmentsSent();
    expect(await probe('ipv4')).toEqual({ kind: 'bypassed' });
    expect(await probe('ipv6')).toEqual({ kind: 'bypassed' });
    expect(segmentsSent()).toBe(before);
    pod.node.redirect.reattachHooks();
    expect(await probe('ipv4')).toMatchObject({ kind: 'proved' });
  });

  it('fails when the answer is of another process', async () => {
    const { flows } = pod.node;
    const target = { netnsPath: pod.netnsPath, podUid: pod.workload.uid, family: 'ipv4' as const };
    const context = { flowMaps: flows, secret: 'another', clock: systemClock, timeoutMs: 500 };
    expect(await probeOutbound(target, context)).toMatchObject({ kind: 'failed', reason: 'WrongAnswer' });
  });

  it('is not tried in a pod whose settings have connect() send at once', async () => {
    withNetns(pod.netnsPath, () => writeFileSync('/proc/sys/net/ipv4/tcp_fastopen', '0'));
    expect(await probe('ipv4')).toMatchObject({ kind: 'impossible' });
  });

  it('proves steering without a connection, and sees when it is gone', () => {
    const { redirect } = pod.node;
    const question = { addresses: pod.workload.addresses, ports: [ports.hbone, 80] };
    expect(redirect.proveSteering(pod.workload.uid, question)).toEqual({ kind: 'steered' });
    expect(redirect.proveSteering('another', question)).toBeUndefined();
  });
});
