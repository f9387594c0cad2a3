// Probes of the kubelet on the real kernel: that they reach a pod that takes no plaintext, and that nobody else does by
// what makes them probes. `node` stands for the node's network namespace; `told` proxies answer "plaintext".

import { execFileSync } from 'node:child_process';
import { mkdirSync, rmdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { IpAddress } from '../mesh/model/ip-address.ts';
import { cgroupRoot } from './cgroup-root.ts';
import { KubeletMaps, netnsCookieAt, type Prober } from './kubelet-maps.ts';
import type { PodCapture } from './pod-capture.ts';
import { Redirect } from './redirect.ts';
import { skipKernelTests, skipReason } from './testing/kernel-suite.ts';
import { TestNetwork, type TestPod } from './testing/test-network.ts';
import { TestProxy } from './testing/test-proxy.ts';

const port = 8080;

describe.skipIf(skipKernelTests)(`probes of the kubelet${skipReason}`, () => {
  const cgroups = ['kubelet', 'other'].map((name) => join(cgroupRoot(), `weft-bpf-${process.pid}-${name}`));
  const [kubeletCgroup, otherCgroup] = cgroups as [string, string];
  let network: TestNetwork;
  let redirect: Redirect;
  let maps: KubeletMaps;
  let node: TestPod;
  let kubelet: TestPod;
  let other: TestPod;
  let app: TestPod;
  let proxy: TestProxy;

  beforeAll(async () => {
    for (const path of cgroups) mkdirSync(path);
    network = new TestNetwork();
    redirect = Redirect.open({});
    node = network.addPod('node');
    kubelet = { ...node, cgroup: kubeletCgroup };
    other = { ...node, cgroup: otherCgroup };
    app = network.addPod('app');
    proxy = new TestProxy(redirect, app, { plaintext: 'told' });
    redirect.attach('app', probed(proxy));
    await serveIn(app);
    await network.serve(app, 'serve', ['0.0.0.0', port + 2]);
  });

  afterAll(async () => {
    await proxy.close();
    redirect.close({ keepPins: false });
    network.dispose();
    for (const path of cgroups) rmdirSync(path);
  });

  beforeEach(() => {
    maps = new KubeletMaps(redirect.kubeletFds);
    maps.admitOnly([theKubelet()]);
  });

  afterEach(() => maps.admitOnly([]));

  async function serveIn(pod: TestPod): Promise<void> {
    await network.serve(pod, 'serve', ['0.0.0.0', port]);
    await network.serve(pod, 'serve', ['::', port + 1]);
  }

  function theKubelet(): Prober {
    return {
      cgroupId: statSync(kubeletCgroup, { bigint: true }).ino,
      netnsCookie: netnsCookieAt(node.netnsPath),
    };
  }

  async function answerTo(from: TestPod, to = app, address: string = to.ipv4): Promise<string | undefined> {
    const { reply, error } = await network.dial(from, 'blocking', [address, port]);
    return reply ?? error;
  }

  it.each(['blocking', 'nonblocking', 'uring', 'fastopen'])(
    'reach the application itself (%s), which sees the node, and are counted',
    async (mode) => {
      const before = maps.admitted();
      const { self, reply } = await network.dial(kubelet, mode, [app.ipv4, port]);
      expect(self).toMatch(new RegExp(`^${node.ipv4} \\d+$`));
      expect(reply).toBe(`accepted ${self}, peer ${self}, self ${app.ipv4} ${port}`);
      expect(maps.admitted()).toBe(before + 1);
    },
  );

  it('do so over IPv6, and for an IPv6 application over IPv4', async () => {
    const six = await network.dial(kubelet, 'blocking', [app.ipv6, port + 1]);
    expect(six.reply).toBe(`accepted ${six.self}, peer ${six.self}, self ${app.ipv6} ${port + 1}`);
    const four = await network.dial(kubelet, 'blocking', [app.ipv4, port + 1]);
    expect(four.reply).toContain(`accepted ::ffff:${four.self}`);
    const mapped = await network.dial(kubelet, 'blocking', [`::ffff:${app.ipv4}`, port + 1]);
    expect(mapped.reply).toContain(`accepted ${mapped.self}`);
  });

  it('reach every address of a pod, and none that it has no more', async () => {
    const further = '10.77.0.97' as IpAddress;
    execFileSync('ip', ['-n', app.name, 'address', 'add', `${further}/24`, 'dev', 'eth0']);
    redirect.attach('app', { ...probed(proxy), addresses: [app.ipv4, app.ipv6, further] });
    expect(await answerTo(kubelet, app, further)).toContain('accepted');
    redirect.attach('app', probed(proxy));
    expect(await answerTo(kubelet, app, further)).toBe('plaintext');
    expect(await answerTo(kubelet)).toContain('accepted');
  });

  it('are told from a port where nothing listens', async () => {
    const to = [app.ipv4, 9] as const;
    expect(await network.dial(kubelet, 'blocking', to)).toEqual({ step: 'connect', error: 'ECONNREFUSED' });
  });

  it("reach no port but those where the pod's own probes ask", async () => {
    const { reply } = await network.dial(kubelet, 'blocking', [app.ipv4, port + 2]);
    expect(reply).toBe('plaintext');
    redirect.attach('app', proxy.capture);
    expect(await answerTo(kubelet)).toBe('plaintext');
    redirect.attach('app', probed(proxy));
    expect(await answerTo(kubelet)).toContain('accepted');
  });

  it('are those of one control group: others of the same namespace are refused', async () => {
    expect(await answerTo(other)).toBe('plaintext');
    expect(await answerTo(node)).toBe('plaintext');
    expect(await answerTo(other, app, app.ipv6)).not.toContain('accepted');
    maps.admitOnly([]);
    expect(await answerTo(kubelet)).toBe('plaintext');
  });

  it("are those of the node's namespace: a pod's process gains nothing by the control group", async () => {
    const stranger = { ...network.addPod('stranger'), cgroup: kubeletCgroup };
    expect(await answerTo(stranger)).toBe('plaintext');
    const captured = network.addPod('captured');
    const own = new TestProxy(redirect, captured);
    redirect.attach('captured', own.capture);
    const { reply } = await network.dial({ ...captured, cgroup: kubeletCgroup }, 'blocking', [
      app.ipv4,
      port,
    ]);
    expect(reply).toBe(`captured for ${app.ipv4} ${port}`);
    redirect.detach('captured');
    await own.close();
  });

  it('open nothing for others while they last, nor after, by their source port', async () => {
    for (const [at, target, ended] of [
      [40_001, port, { data: expect.stringContaining('accepted') }],
      [40_002, 9, { step: 'connect', error: 'ECONNREFUSED' }],
    ] as const) {
      const probe = await network.hold(kubelet, [app.ipv4, target], [node.ipv4, at]);
      expect(target === 9 ? probe.first : await probe.say('ask')).toEqual(ended);
      await probe.close();
      const later = await network.hold(other, [app.ipv4, target], [node.ipv4, at]);
      expect(await later.next()).toEqual({ data: 'plaintext' });
      await later.close();
    }
  });

  it('are connections: a raw socket of the kubelet itself sends none', async () => {
    const [from, to] = [
      [node.ipv4, 40_004],
      [app.ipv4, 9],
    ] as const;
    // Nothing listens there: a probe is refused by the pod, everything else is answered by its proxy.
    expect(await network.rawSyn(kubelet, from, to)).toEqual({ reply: 'syn-ack' });
  });

  it("are not taken over by a pod that gives itself the node's address and port", async () => {
    const spoofer = network.addPod('spoofer');
    execFileSync('ip', ['-n', spoofer.name, 'address', 'add', `${node.ipv4}/32`, 'dev', 'lo']);
    // The network delivers answers to the true node, as one that routes per pod does.
    neighbour('replace', app, node, macOf(node));
    // The SYN of the probe is lost: its flow stays recorded.
    neighbour('replace', node, app, '02:00:00:00:00:01');
    const before = maps.admitted();
    const probe = network.hold(kubelet, [app.ipv4, port], [node.ipv4, 40_003]);
    await expect.poll(() => maps.admitted()).toBe(before + 1);
    const spoofed = await network.hold(spoofer, [app.ipv4, port], [node.ipv4, 40_003]);
    expect(spoofed.first).toEqual({ step: 'connect', error: 'ETIMEDOUT' });
    neighbour('del', node, app);
    expect((await probe).first).toEqual({ step: 'connect', error: 'ETIMEDOUT' });
    execFileSync('ip', ['-n', spoofer.name, 'link', 'set', 'eth0', 'down']);
    neighbour('del', app, node);
  }, 20_000);

  it('are not inherited by another pod that gets the address', async () => {
    const heir = network.addPod('heir');
    const own = new TestProxy(redirect, heir, { plaintext: 'told', addresses: [app.ipv4] });
    redirect.attach('heir', probed(own));
    // Recorded for `heir`; what arrives at `app` is not known there.
    expect(await answerTo(kubelet)).toBe('plaintext');
    redirect.attach('app', probed(proxy));
    redirect.detach('heir');
    expect(await answerTo(kubelet)).toContain('accepted');
    await own.close();
  });

  it('need no proxy: a pod is not restarted because its node tunnel is away', async () => {
    const pinDir = `/sys/fs/bpf/weft-test-${process.pid}-kubelet`;
    const pod = network.addPod('alone');
    await serveIn(pod);
    const first = Redirect.open({ pinDir });
    const own = new TestProxy(first, pod);
    first.attach('alone', probed(own));
    new KubeletMaps(first.kubeletFds).admitOnly([theKubelet()]);
    await own.close();
    first.close({ keepPins: true });
    expect(await answerTo(kubelet, pod)).toContain('accepted');
    expect(await answerTo(other, pod)).toBe('ECONNREFUSED');
    using second = Redirect.open({ pinDir });
    const after = new KubeletMaps(second.kubeletFds);
    expect(await answerTo(kubelet, pod)).toContain('accepted');
    expect(after.admitted()).toBe(2);
    after.admitOnly([]);
    expect(await answerTo(kubelet, pod)).toBe('ECONNREFUSED');
    after.admitOnly([theKubelet()]);
    second.detach('alone');
    // No longer captured: nothing is recorded, nothing is refused.
    expect(await answerTo(other, pod)).toContain('accepted');
    expect(await answerTo(kubelet, pod)).toContain('accepted');
    expect(after.admitted()).toBe(2);
    second.close({ keepPins: false });
  });
});

function probed({ capture }: TestProxy): PodCapture {
  return { ...capture, probePorts: [9, port, port + 1] };
}

function neighbour(change: 'replace' | 'del', at: TestPod, of: TestPod, mac?: string): void {
  const rest = mac === undefined ? [] : ['lladdr', mac, 'nud', 'permanent'];
  execFileSync('ip', ['-n', at.name, 'neigh', change, of.ipv4, ...rest, 'dev', 'eth0']);
}

function macOf(pod: TestPod): string {
  const shown = execFileSync('ip', ['-j', '-n', pod.name, 'link', 'show', 'eth0'], { encoding: 'utf8' });
  return (JSON.parse(shown) as [{ address: string }])[0].address;
}
