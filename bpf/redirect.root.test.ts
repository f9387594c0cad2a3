// The life of capture on the real kernel: attach, detach, crash, takeover, removal.

import dgram from 'node:dgram';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, readdirSync } from 'node:fs';
import { once } from 'node:events';
import net from 'node:net';
import { join } from 'node:path';
import { setImmediate, setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { withNetns } from '../mesh/io/netns.ts';
import { createTcpSocket, listenTcp, remoteAddress, startConnect } from '../mesh/io/socket.ts';
import { bindUdp } from '../mesh/io/udp-socket.ts';
import { AF_INET } from '../mesh/io/libc.ts';
import type { IpAddress } from '../mesh/model/ip-address.ts';
import { Redirect } from './redirect.ts';
import { type HeldObjects, heldObjects, remaining } from './testing/kernel-objects.ts';
import { skipKernelTests, skipReason } from './testing/kernel-suite.ts';
import { type Dialled, TestNetwork, type TestPod } from './testing/test-network.ts';
import { dnsPort, outboundPort, TestProxy } from './testing/test-proxy.ts';

const far = '192.0.2.7' as IpAddress;
const nothing: HeldObjects = { programs: [], maps: [] };
const refused = { step: 'connect', error: 'ECONNREFUSED' };

describe.skipIf(skipKernelTests)(`the life of capture${skipReason}`, () => {
  let network: TestNetwork;
  let pod: TestPod;
  let peer: TestPod;
  let pinDir: string;
  let closing: (() => unknown)[];

  beforeEach(() => {
    network = new TestNetwork();
    pod = network.addPod('pod');
    peer = network.addPod('peer');
    const mount = join(network.directory, 'bpffs');
    mkdirSync(mount);
    execFileSync('mount', ['-t', 'bpf', 'bpf', mount]);
    pinDir = join(mount, 'weft', 'node-1');
    closing = [() => execFileSync('umount', [mount])];
  });

  afterEach(async () => {
    for (const close of closing.toReversed()) await close();
    network.dispose();
  });

  function open(options: { readonly pinned: boolean }): Redirect {
    const redirect = Redirect.open(options.pinned ? { pinDir } : {});
    closing.push(() => redirect.close({ keepPins: false }));
    return redirect;
  }

  function proxyFor(redirect: Redirect): TestProxy {
    const proxy = new TestProxy(redirect, pod);
    closing.push(() => proxy.close());
    return proxy;
  }

  /** A connection from the peer into the pod, or out of it, that both ends can be asked about later. */
  async function established(from: TestPod, to: TestPod): Promise<{ echo(text: string): Promise<string> }> {
    const listener = withNetns(to.netnsPath, () => createTcpSocket(AF_INET));
    const server = net.createServer((socket) => socket.pipe(socket));
    await new Promise<void>((resolve) => {
      // Listens on a port of the kernel's choice in the pod's namespace.
      server.listen({ fd: listener }, resolve);
    });
    const port = (server.address() as net.AddressInfo).port;
    const fd = withNetns(from.netnsPath, () => createTcpSocket(AF_INET));
    expect(startConnect(fd, { address: to.ipv4, port })).toBe(0);
    const socket = new net.Socket({ fd });
    closing.push(() => {
      socket.destroy();
      return new Promise((resolve) => server.close(resolve));
    });
    return {
      echo: (text) =>
        new Promise((resolve, reject) => {
          socket.once('error', reject).once('data', (data) => resolve(data.toString()));
          socket.write(text);
        }),
    };
  }

  it('leaves established connections alone at attach and at detach', async () => {
    const redirect = open({ pinned: false });
    const out = await established(pod, peer);
    const into = await established(peer, pod);
    expect(await out.echo('before')).toBe('before');
    redirect.attach('pod', proxyFor(redirect).capture);
    expect(await out.echo('captured')).toBe('captured');
    expect(await into.echo('captured')).toBe('captured');
    expect((await network.dial(pod, 'blocking', [far, 80])).reply).toBe(`captured for ${far} 80`);
    redirect.detach('pod');
    expect(await out.echo('after')).toBe('after');
    expect(await into.echo('after')).toBe('after');
  });

  it('captures nothing any more after detach, and takes the same pod again', async () => {
    const redirect = open({ pinned: false });
    await network.serve(peer, 'serve', ['0.0.0.0', 8080]);
    const proxy = proxyFor(redirect);
    const { netnsCookie } = redirect.attach('pod', proxy.capture);
    expect(redirect.listPods()).toEqual([{ uid: 'pod', netnsCookie, attached: true }]);
    redirect.detach('pod');
    redirect.detach('pod');
    expect(redirect.listPods()).toEqual([]);
    expect((await network.dial(pod, 'blocking', [peer.ipv4, 8080])).reply).toContain(`accepted ${pod.ipv4} `);
    redirect.attach('pod', proxy.capture);
    expect((await network.dial(pod, 'blocking', [peer.ipv4, 8080])).reply).toBe(
      `captured for ${peer.ipv4} 8080`,
    );
  });

  it('moves to the new namespace when a pod of the same uid comes back', async () => {
    const redirect = open({ pinned: true });
    await network.serve(peer, 'serve', ['0.0.0.0', 8080]);
    redirect.attach('pod', proxyFor(redirect).capture);
    const reborn = network.addPod('reborn');
    const proxy = new TestProxy(redirect, reborn);
    closing.push(() => proxy.close());
    const { netnsCookie } = redirect.attach('pod', proxy.capture);
    expect(redirect.listPods()).toEqual([{ uid: 'pod', netnsCookie, attached: true }]);
    expect((await network.dial(pod, 'blocking', [peer.ipv4, 8080])).reply).toContain(`accepted ${pod.ipv4} `);
    expect(readdirSync(join(pinDir, 'v1', 'inbound'))).toEqual([netnsCookie.toString()]);
  });

  it('refuses both ways after the process was killed, and the next one takes over', async () => {
    await network.serve(peer, 'serve', ['0.0.0.0', 8080]);
    await network.serve(pod, 'serve', ['0.0.0.0', 8080]);
    const holder = spawnHolder(pod, pinDir);
    await firstLine(holder);
    expect((await network.dial(pod, 'blocking', [peer.ipv4, 8080])).reply).toBe(
      `captured for ${peer.ipv4} 8080`,
    );
    const exit = once(holder, 'exit');
    holder.kill('SIGKILL');
    await exit;
    expect(await network.dial(pod, 'blocking', [peer.ipv4, 8080])).toEqual(refused);
    expect(await network.dial(peer, 'blocking', [pod.ipv4, 8080])).toEqual(refused);

    const redirect = open({ pinned: true });
    expect(redirect.listPods()).toMatchObject([{ uid: 'pod', attached: false }]);
    expect(await network.dial(pod, 'blocking', [peer.ipv4, 8080])).toEqual(refused);
    redirect.attach('pod', proxyFor(redirect).capture);
    expect(redirect.listPods()).toMatchObject([{ uid: 'pod', attached: true }]);
    expect((await network.dial(pod, 'blocking', [peer.ipv4, 8080])).reply).toBe(
      `captured for ${peer.ipv4} 8080`,
    );
    expect((await network.dial(peer, 'blocking', [pod.ipv4, 8080])).reply).toContain(
      `accepted ${peer.ipv4} `,
    );
  });

  it('lets nothing through in plaintext while processes take over from one another', async () => {
    await network.serve(peer, 'serve', ['0.0.0.0', 8080]);
    const proxy = proxyFor(open({ pinned: true }));
    const dials: Promise<Dialled>[] = [];
    for (let i = 0; i < 10; i++) {
      const redirect = open({ pinned: true });
      for (let j = 0; j < 3; j++) {
        redirect.attach('pod', proxy.capture);
        dials.push(network.dial(pod, 'blocking', [peer.ipv4, 8080]));
        await setImmediate();
      }
    }
    const replies = new Set((await Promise.all(dials)).map(({ reply }) => reply));
    expect([...replies]).toEqual([`captured for ${peer.ipv4} 8080`]);
  });

  it('can be opened and removed whatever moment a process was killed at', async () => {
    await network.serve(peer, 'serve', ['0.0.0.0', 8080]);
    const pins = (): number => (existsSync(pinDir) ? readdirSync(pinDir, { recursive: true }).length : 0);
    // Killed once so many pins are there: from nothing to all (4 directories, 3 maps, 9 links, 1 pod).
    for (const enough of [0, 1, 5, 8, 12, 16, 17]) {
      const holder = spawnHolder(pod, pinDir);
      const exit = once(holder, 'exit');
      while (pins() < enough && holder.exitCode === null) await sleep(1);
      holder.kill('SIGKILL');
      await exit;
      const redirect = Redirect.open({ pinDir });
      const proxy = new TestProxy(redirect, pod);
      redirect.attach('pod', proxy.capture);
      expect((await network.dial(pod, 'blocking', [far, 80])).reply).toBe(`captured for ${far} 80`);
      await proxy.close();
      redirect.close({ keepPins: true });
      Redirect.removeInstance(pinDir);
      expect(existsSync(pinDir)).toBe(false);
    }
    expect((await network.dial(pod, 'blocking', [peer.ipv4, 8080])).reply).toContain(`accepted ${pod.ipv4} `);
  });

  it('detaches a pod that an earlier process attached', async () => {
    await network.serve(peer, 'serve', ['0.0.0.0', 8080]);
    const earlier = Redirect.open({ pinDir });
    const proxy = proxyFor(earlier);
    earlier.attach('pod', proxy.capture);
    earlier.close({ keepPins: true });
    const redirect = open({ pinned: true });
    redirect.detach('pod');
    expect(redirect.listPods()).toEqual([]);
    expect(readdirSync(join(pinDir, 'v1', 'inbound'))).toEqual([]);
    expect((await network.dial(pod, 'blocking', [peer.ipv4, 8080])).reply).toContain(`accepted ${pod.ipv4} `);
  });

  it('leaves the newer process in charge when the older one ends', async () => {
    const older = open({ pinned: true });
    const olderProxy = proxyFor(older);
    older.attach('pod', olderProxy.capture);
    const newer = open({ pinned: true });
    newer.attach('pod', proxyFor(newer).capture);
    await olderProxy.close();
    older.detach('pod');
    older.close({ keepPins: false });
    expect(newer.listPods()).toMatchObject([{ uid: 'pod', attached: true }]);
    expect((await network.dial(pod, 'blocking', [far, 80])).reply).toBe(`captured for ${far} 80`);
    expect((await network.dial(peer, 'blocking', [pod.ipv4, 15008])).reply).toBe('hbone');
  });

  it('gives every new connection to the newer process, while the older one still listens at the same places', async () => {
    await network.serve(pod, 'serve', ['0.0.0.0', 8080]);
    const older = open({ pinned: true });
    const olderProxy = proxyFor(older);
    older.attach('pod', olderProxy.capture);
    const newer = open({ pinned: true });
    const newerProxy = proxyFor(newer);
    const all = () =>
      Promise.all(
        Array.from({ length: 20 }, (_, i) => [
          network.dial(pod, 'blocking', [far, 80 + i]),
          network.dial(peer, 'blocking', [pod.ipv4, 15008]),
          network.dial(peer, 'blocking', [pod.ipv6, 15008]),
          network.dial(peer, 'blocking', [pod.ipv4, 8080]),
        ]).flat(),
      );
    await all();
    expect([olderProxy.accepted, newerProxy.accepted]).toEqual([80, 0]);
    newer.attach('pod', newerProxy.capture);
    expect((await all()).every(({ reply }) => reply !== undefined)).toBe(true);
    expect([olderProxy.accepted, newerProxy.accepted]).toEqual([80, 80]);
  });

  it('lets the older process go on until the newer one takes over, and then change nothing any more', async () => {
    const older = open({ pinned: true });
    older.attach('pod', proxyFor(older).capture);
    const newer = open({ pinned: true });
    expect(older.replaced).toBe(false);
    const other = network.addPod('other');
    const olderOther = new TestProxy(older, other);
    closing.push(() => olderOther.close());
    older.attach('other', olderOther.capture);
    newer.takeOver();
    expect([older.replaced, newer.replaced]).toEqual([true, false]);
    expect(() => older.attach('other', olderOther.capture)).toThrow(/a newer process has taken over/);
    older.detach('pod');
    older.detach('other');
    expect(newer.listPods().map(({ uid }) => uid)).toEqual(expect.arrayContaining(['pod', 'other']));
    // What the newer process has not put its own listeners in yet, the older one still serves.
    expect((await network.dial(other, 'blocking', [far, 80])).reply).toBe(`captured for ${far} 80`);
    older.close({ keepPins: false });
    newer.detach('other');
    expect(newer.listPods()).toMatchObject([{ uid: 'pod', attached: false }]);
  });

  it('gives captured connections to its own listeners, whoever else is bound to their port', async () => {
    const redirect = open({ pinned: false });
    redirect.attach('pod', proxyFor(redirect).capture);
    const thief = withNetns(pod.netnsPath, () => listenTcp({ address: pod.ipv4, port: outboundPort }));
    for (let port = 80; port < 100; port++) {
      expect((await network.dial(pod, 'blocking', [far, port])).reply).toBe(`captured for ${far} ${port}`);
    }
    closeSync(thief);
  });

  it('spreads connections over the listeners of a kind', async () => {
    const redirect = open({ pinned: false });
    const proxies = [proxyFor(redirect), proxyFor(redirect), proxyFor(redirect)];
    const listeners = (name: 'hboneListeners' | 'outboundListeners') =>
      proxies.flatMap(({ capture }) => capture[name]);
    redirect.attach('pod', {
      ...(proxies[0] as TestProxy).capture,
      hboneListeners: listeners('hboneListeners'),
      outboundListeners: listeners('outboundListeners'),
    });
    const dials = Array.from({ length: 150 }, () => network.dial(peer, 'blocking', [pod.ipv4, 15008]));
    for (let i = 0; i < 150; i++) dials.push(network.dial(pod, 'blocking', [far, 80]));
    await Promise.all(dials);
    // A share of a third each; six standard deviations are 49.
    for (const { accepted } of proxies) expect(Math.abs(accepted - 100)).toBeLessThan(49);
  });

  it('gives DNS of the pod to the sockets it was told of, whoever else is bound to their port', async () => {
    const redirect = open({ pinned: false });
    const silent = withNetns(pod.netnsPath, () => bindUdp({ address: pod.ipv4, port: dnsPort }));
    closing.push(() => closeSync(silent));
    const [udp, tcp] = withNetns(pod.netnsPath, () => [
      bindUdp({ address: pod.ipv4, port: dnsPort }),
      listenTcp({ address: pod.ipv4, port: dnsPort }),
    ]);
    closing.push(() => closeSync(tcp));
    const server = dgram.createSocket('udp4', (_, client) => {
      server.send('answer', client.port, client.address);
    });
    server.bind({ fd: udp });
    closing.push(() => server.close());
    redirect.attach('pod', { ...proxyFor(redirect).capture, dnsListeners: [tcp, udp] });
    for (let i = 0; i < 20; i++) {
      expect((await network.dial(pod, 'udp', [far, 53])).reply).toBe('answer');
    }
  });

  it('lets a pod go whose DNS query is under way: the answer still comes from the resolver that was asked', async () => {
    const redirect = open({ pinned: false });
    const udp = withNetns(pod.netnsPath, () => bindUdp({ address: pod.ipv4, port: dnsPort }));
    const server = dgram.createSocket('udp4', (_, client) => {
      redirect.detach('pod', { answering: true });
      server.send('answer', client.port, client.address);
    });
    server.bind({ fd: udp });
    closing.push(() => server.close());
    const { capture } = proxyFor(redirect);
    for (const kind of ['udp', 'udp-unconnected'] as const) {
      redirect.attach('pod', { ...capture, dnsListeners: [udp] });
      const seen = await network.dial(pod, kind, [far, 53]);
      expect(seen).toMatchObject({ source: `${far} 53`, reply: 'answer' });
      expect(redirect.listPods()).toEqual([]);
    }
    await network.serve(peer, 'serve', ['0.0.0.0', 8080]);
    expect(await network.dial(pod, 'blocking', [peer.ipv4, 8080])).toMatchObject({
      peer: `${peer.ipv4} 8080`,
    });
    redirect.endAnswers('pod');
    redirect.attach('pod', capture);
    redirect.endAnswers('pod');
    expect(redirect.listPods()).toMatchObject([{ uid: 'pod', attached: true }]);
  });

  it('keeps the disguise of a connection whose pod was detached meanwhile', async () => {
    const redirect = open({ pinned: false });
    redirect.attach('pod', proxyFor(redirect).capture);
    const fd = withNetns(pod.netnsPath, () => createTcpSocket(AF_INET));
    expect(startConnect(fd, { address: far, port: 80 })).toBe(0);
    redirect.detach('pod');
    expect(remoteAddress(fd)).toEqual({ address: far, port: 80 });
    closeSync(fd);
  });

  it('removes every program, map and link at the end: on close, and by the cleaner while a process still holds them', async () => {
    await network.serve(peer, 'serve', ['0.0.0.0', 8080]);
    for (const end of ['close', 'clean'] as const) {
      const redirect = Redirect.open({ pinDir });
      const proxy = new TestProxy(redirect, pod);
      redirect.attach('pod', proxy.capture);
      const held = captureOfOnePod();
      await proxy.close();
      if (end === 'clean') {
        Redirect.removeInstance(pinDir);
        expect((await network.dial(pod, 'blocking', [peer.ipv4, 8080])).reply).toContain(
          `accepted ${pod.ipv4} `,
        );
      }
      redirect.close({ keepPins: false });
      expect(existsSync(pinDir)).toBe(false);
      expect(await remaining(held)).toEqual(nothing);
    }
    Redirect.removeInstance(pinDir);
  });

  it('ends without a trace when it is not pinned', async () => {
    const redirect = Redirect.open({});
    const proxy = new TestProxy(redirect, pod);
    redirect.attach('pod', proxy.capture);
    const held = captureOfOnePod();
    await proxy.close();
    redirect.close({ keepPins: true });
    expect(await remaining(held)).toEqual(nothing);
    expect(() => redirect.listPods()).toThrow('Could not use the redirect: it is closed');
  });

  it('leaves no descriptor behind', async () => {
    const count = () => readdirSync('/proc/self/fd').length;
    const cycle = async () => {
      using redirect = Redirect.open({});
      const proxy = new TestProxy(redirect, pod);
      redirect.attach('pod', proxy.capture);
      redirect.attach('pod', proxy.capture);
      expect(() => redirect.attach('pod', { ...proxy.capture, addresses: [] })).toThrow(/0 addresses/);
      redirect.detach('pod');
      redirect.attach('other', proxy.capture);
      await proxy.close();
    };
    await cycle();
    const before = count();
    await cycle();
    expect(count()).toBe(before);
  });

  it('refuses a pin directory that can not hold pins', () => {
    expect(() => Redirect.open({ pinDir: '/tmp/weft' })).toThrow(/no BPF file system is mounted there/);
    expect(() => Redirect.open({ pinDir: `${pinDir}/a.b` })).toThrow(/without dots/);
    mkdirSync(join(pinDir, 'v0'), { recursive: true });
    expect(() => Redirect.open({ pinDir })).toThrow(/an instance of layout "v0" is pinned there/);
  });
});

/** Nine programs at the cgroup root, one in the pod; three shared maps. */
function captureOfOnePod(): HeldObjects {
  const held = heldObjects();
  expect(held.programs).toHaveLength(10);
  expect(held.maps).toHaveLength(13);
  return held;
}

/** Another process that captures the pod and then just lives. */
function spawnHolder(pod: TestPod, pinDir: string): ChildProcess {
  const script = new URL('./testing/capture-holder.ts', import.meta.url).pathname;
  return spawn(process.execPath, [script, JSON.stringify(pod), pinDir], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
}

function firstLine(child: ChildProcess): Promise<void> {
  return new Promise((resolve, reject) => {
    child.stdout?.once('data', () => resolve());
    child.once('exit', (code) => reject(new Error(`The holder ended with ${code}`)));
  });
}
