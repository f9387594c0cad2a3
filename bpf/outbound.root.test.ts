// Outbound capture on the real kernel: every way to connect, and what both ends see.

import { readFileSync } from 'node:fs';
import { once } from 'node:events';
import net from 'node:net';
import { Worker } from 'node:worker_threads';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import * as libc from '../mesh/io/libc.ts';
import { withNetns } from '../mesh/io/netns.ts';
import { createTcpSocket, listenTcp, startConnect } from '../mesh/io/socket.ts';
import type { IpAddress } from '../mesh/model/ip-address.ts';
import { FlowMaps } from './flow-maps.ts';
import { Redirect } from './redirect.ts';
import { skipKernelTests, skipReason } from './testing/kernel-suite.ts';
import { TestNetwork, type TestPod } from './testing/test-network.ts';
import { dnsPort, outboundPort, TestProxy } from './testing/test-proxy.ts';

// Nothing answers there: what reaches the proxy was captured.
const far4 = '192.0.2.7';
const far6 = '2001:db8::7';

describe.skipIf(skipKernelTests)(`outbound capture${skipReason}`, () => {
  let network: TestNetwork;
  let redirect: Redirect;
  let web: TestPod;
  let plain: TestPod;
  let proxy: TestProxy;

  beforeAll(() => {
    network = new TestNetwork();
    web = network.addPod('web');
    plain = network.addPod('plain');
    redirect = Redirect.open({});
    proxy = new TestProxy(redirect, web);
    redirect.attach('cluster//Pod/shop/web', proxy.capture);
  });

  afterAll(async () => {
    await proxy.close();
    redirect.close({ keepPins: false });
    network.dispose();
  });

  for (const mode of ['blocking', 'nonblocking', 'fastopen', 'uring']) {
    it(`captures a ${mode} connect over IPv4; both names stay true`, async () => {
      const seen = await network.dial(web, mode, [far4, 80]);
      expect(seen).toMatchObject({ reply: `captured for ${far4} 80`, peer: `${far4} 80` });
      expect(seen.self).toMatch(new RegExp(`^${web.ipv4} \\d+$`));
    });

    it(`captures a ${mode} connect over IPv6; both names stay true`, async () => {
      const seen = await network.dial(web, mode, [far6, 8443]);
      expect(seen).toMatchObject({ reply: `captured for ${far6} 8443`, peer: `${far6} 8443` });
      expect(seen.self).toMatch(new RegExp(`^${web.ipv6} \\d+$`));
    });
  }

  it('captures an IPv4-mapped destination of an IPv6 socket', async () => {
    const seen = await network.dial(web, 'blocking', [`::ffff:${far4}`, 80]);
    expect(seen).toMatchObject({ reply: `captured for ${far4} 80`, peer: `::ffff:${far4} 80` });
    expect(seen.self).toMatch(new RegExp(`^::ffff:${web.ipv4} \\d+$`));
  });

  it('captures the connect of an MPTCP socket', async () => {
    expect(await network.dial(web, 'mptcp', [far4, 80])).toMatchObject({ reply: `captured for ${far4} 80` });
  });

  it('captures a socket that was bound first, to the pod, to loopback or to another address of the pod', async () => {
    for (const source of [web.ipv4, '127.0.0.1']) {
      const seen = await network.dial(web, 'blocking', [far4, 80], source);
      expect(seen.reply).toBe(`captured for ${far4} 80`);
      expect(seen.self).toMatch(new RegExp(`^${source} \\d+$`));
    }
    expect((await network.dial(web, 'blocking', [far6, 80], web.ipv6)).reply).toBe(`captured for ${far6} 80`);
  });

  it('captures a destination inside the pod by its own address, and TCP to port 53', async () => {
    expect((await network.dial(web, 'blocking', [web.ipv4, 9999])).reply).toBe(
      `captured for ${web.ipv4} 9999`,
    );
    expect((await network.dial(web, 'blocking', [far4, 53])).reply).toBe(`captured for ${far4} 53`);
  });

  it('finds the original destination when the kernel answers with SYN cookies', async () => {
    network.sysctl(web, 'net.ipv4.tcp_syncookies=2');
    try {
      expect((await network.dial(web, 'blocking', [far4, 81])).reply).toBe(`captured for ${far4} 81`);
      expect((await network.dial(web, 'blocking', [far6, 81])).reply).toBe(`captured for ${far6} 81`);
    } finally {
      network.sysctl(web, 'net.ipv4.tcp_syncookies=1');
    }
  });

  it('finds the original destination when the pod lets servers accept data in the SYN (TCP Fast Open)', async () => {
    const eager = network.addPod('eager');
    network.sysctl(eager, 'net.ipv4.tcp_fastopen=1027');
    const eagerProxy = new TestProxy(redirect, eager);
    redirect.attach('eager', eagerProxy.capture);
    // The first connection fetches the cookie, the second sends its data with the SYN.
    for (const port of [80, 81]) {
      expect((await network.dial(eager, 'fastopen', [far4, port])).reply).toBe(
        `captured for ${far4} ${port}`,
      );
    }
    redirect.detach('eager');
    await eagerProxy.close();
  });

  it('finds each original destination among many connections at once', async () => {
    const ports = Array.from({ length: 40 }, (_, i) => 2000 + i);
    const seen = await Promise.all(ports.map((port) => network.dial(web, 'blocking', [far4, port])));
    expect(seen.map(({ reply }) => reply)).toEqual(ports.map((port) => `captured for ${far4} ${port}`));
  });

  it('leaves loopback destinations alone', async () => {
    await network.serve(web, 'serve', ['127.0.0.1', 7000]);
    await network.serve(web, 'serve', ['::1', 7000]);
    for (const address of ['127.0.0.1', '::1', '::ffff:127.0.0.1', '0.0.0.0']) {
      const seen = await network.dial(web, 'blocking', [address, 7000]);
      expect(seen.reply).toContain(`accepted ${address === '::1' ? '::1' : '127.0.0.1'} `);
    }
  });

  it('leaves namespaces alone that are not enrolled', async () => {
    await network.serve(plain, 'serve', ['0.0.0.0', 7001]);
    const other = network.addPod('other');
    const seen = await network.dial(other, 'blocking', [plain.ipv4, 7001]);
    expect(seen).toMatchObject({ peer: `${plain.ipv4} 7001` });
    expect(seen.reply).toContain(`accepted ${other.ipv4} `);
  });

  it('lets the sockets of the proxy pass, and tells no destination for a connection it did not capture', async () => {
    await network.serve(plain, 'serve', ['0.0.0.0', 7002]);
    const flows = new FlowMaps(redirect.fds);
    const direct = proxy.socket(plain.ipv4);
    flows.exempt(direct);
    expect(await exchange(direct, plain.ipv4, 7002)).toContain(`accepted ${web.ipv4} `);
    const intruder = proxy.socket(web.ipv4);
    flows.exempt(intruder);
    expect(await exchange(intruder, web.ipv4, outboundPort)).toBe('no destination');
  });

  it('finds original destinations in a worker thread, from the posted descriptor numbers', async () => {
    const pod = network.addPod('threads');
    const podProxy = new TestProxy(redirect, pod);
    const [listener, client] = withNetns(pod.netnsPath, () => [
      listenTcp({ address: pod.ipv4, port: 15101 }),
      createTcpSocket(libc.AF_INET),
    ]);
    redirect.attach('threads', {
      ...podProxy.capture,
      outboundPort: 15101,
      outboundListeners: [listener],
    });
    expect(startConnect(client, { address: far4 as IpAddress, port: 443 })).toBe(0);
    const accepted = libc.accept4(listener, 0, 0, libc.SOCK_CLOEXEC);
    expect(accepted).toBeGreaterThan(0);
    const worker = new Worker(new URL('./testing/flow-maps-worker.ts', import.meta.url), {
      workerData: { fds: redirect.fds, accepted },
    });
    const [found] = await once(worker, 'message');
    expect(found).toEqual({ address: far4, port: 443 });
    await worker.terminate();
    for (const fd of [accepted, client, listener]) libc.close(fd);
    redirect.detach('threads');
    await podProxy.close();
  });

  it('refuses an enrolled pod without an address of the family', async () => {
    const single = network.addPod('single');
    const singleProxy = new TestProxy(redirect, single, { addresses: [single.ipv4] });
    redirect.attach('single', singleProxy.capture);
    expect(await network.dial(single, 'blocking', [far6, 80])).toEqual({ step: 'connect', error: 'EPERM' });
    expect((await network.dial(single, 'blocking', [far4, 80])).reply).toBe(`captured for ${far4} 80`);
    redirect.detach('single');
    await singleProxy.close();
  });

  it('captures two instances at one cgroup root side by side, each its own pods only', async () => {
    const second = Redirect.open({});
    const otherPod = network.addPod('second');
    const otherProxy = new TestProxy(second, otherPod);
    second.attach('second', otherProxy.capture);
    expect((await network.dial(otherPod, 'blocking', [far4, 80])).reply).toBe(`captured for ${far4} 80`);
    expect((await network.dial(web, 'blocking', [far4, 80])).reply).toBe(`captured for ${far4} 80`);
    second.close({ keepPins: false });
    expect((await network.dial(web, 'blocking', [far4, 80])).reply).toBe(`captured for ${far4} 80`);
    await otherProxy.close();
  });

  it('lets ports in TIME_WAIT be used again: all connections of a pod share one destination', () => {
    const reuse = () => readFileSync('/proc/sys/net/ipv4/tcp_tw_reuse', 'utf8').trim();
    expect(withNetns(web.netnsPath, reuse)).toBe('1');
    expect(withNetns(plain.netnsPath, reuse)).not.toBe('1');
  });

  for (const [family, resolver] of [
    ['IPv4', far4],
    ['IPv6', far6],
  ] as const) {
    it(`captures DNS over ${family}: the answer comes from the resolver that was asked`, async () => {
      await network.serve(web, 'dns-server', [family === 'IPv4' ? web.ipv4 : web.ipv6, dnsPort]);
      const expected = { source: `${resolver} 53`, reply: 'answer' };
      expect(await network.dial(web, 'udp', [resolver, 53])).toEqual({ ...expected, peer: `${resolver} 53` });
      expect(await network.dial(web, 'udp-unconnected', [resolver, 53])).toEqual({ ...expected, peer: '' });
      expect(await network.dial(web, 'udp-sendto', [resolver, 53])).toEqual({
        ...expected,
        peer: `${resolver} 53`,
      });
    });
  }

  it('captures DNS of an IPv6 socket that speaks IPv4', async () => {
    const expected = { source: `::ffff:${far4} 53`, reply: 'answer' };
    expect(await network.dial(web, 'udp-unconnected', [`::ffff:${far4}`, 53])).toEqual({
      ...expected,
      peer: '',
    });
    expect(await network.dial(web, 'udp', [`::ffff:${far4}`, 53])).toMatchObject(expected);
  });

  it('lets nobody else pose as the resolver: only the answers of the DNS listener get its address', async () => {
    // The same port on another host; the socket has asked a resolver before.
    await network.serve(plain, 'dns-server', [plain.ipv4, dnsPort]);
    const seen = await network.dial(web, 'udp-after-dns', [plain.ipv4, dnsPort]);
    expect(seen).toEqual({ peer: '', source: `${plain.ipv4} ${dnsPort}`, reply: 'answer' });
  });

  it('leaves other UDP alone, and keeps the DNS listener to the pod itself', async () => {
    await network.serve(plain, 'dns-server', [plain.ipv4, 5353]);
    const seen = await network.dial(web, 'udp-unconnected', [plain.ipv4, 5353]);
    expect(seen).toEqual({ peer: '', source: `${plain.ipv4} 5353`, reply: 'answer' });
    expect(await network.dial(plain, 'udp', [web.ipv4, dnsPort])).toEqual({
      step: 'recv',
      error: 'ECONNREFUSED',
    });
  });

  it('refuses connects when the listener is away', async () => {
    const lonely = network.addPod('lonely');
    const gone = new TestProxy(redirect, lonely);
    redirect.attach('lonely', gone.capture);
    await gone.close();
    expect(await network.dial(lonely, 'blocking', [far4, 80])).toEqual({
      step: 'connect',
      error: 'ECONNREFUSED',
    });
    expect(await network.dial(lonely, 'blocking', [far6, 80])).toEqual({
      step: 'connect',
      error: 'ECONNREFUSED',
    });
    redirect.detach('lonely');
  });
});

/** Dials from a descriptor and returns everything the other side says. */
async function exchange(fd: number, address: IpAddress, port: number): Promise<string> {
  expect(startConnect(fd, { address, port })).toBe(0);
  const socket = new net.Socket({ fd });
  let text = '';
  socket.write('hello\n');
  for await (const chunk of socket) text += String(chunk);
  return text;
}
