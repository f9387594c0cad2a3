// Inbound capture on the real kernel: where connections go, and whom the application sees.

import { execFileSync } from 'node:child_process';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Redirect } from './redirect.ts';
import { skipKernelTests, skipReason } from './testing/kernel-suite.ts';
import { TestNetwork, type TestPod } from './testing/test-network.ts';
import { TestProxy } from './testing/test-proxy.ts';

describe.skipIf(skipKernelTests)(`inbound capture${skipReason}`, () => {
  let network: TestNetwork;
  let redirect: Redirect;
  let client: TestPod;
  let app: TestPod;
  let proxy: TestProxy;

  beforeAll(async () => {
    network = new TestNetwork();
    client = network.addPod('client');
    app = network.addPod('app');
    redirect = Redirect.open({});
    proxy = new TestProxy(redirect, app);
    await network.serve(app, 'serve', ['0.0.0.0', 8080]);
    await network.serve(app, 'serve', ['::', 8081]);
    redirect.attach('app', proxy.capture);
  });

  afterAll(async () => {
    await proxy.close();
    redirect.close({ keepPins: false });
    network.dispose();
  });

  it('shows the application the real client in accept() and getpeername(), over IPv4', async () => {
    const { self, reply } = await network.dial(client, 'blocking', [app.ipv4, 8080]);
    expect(self).toMatch(new RegExp(`^${client.ipv4} \\d+$`));
    expect(reply).toBe(`accepted ${self}, peer ${self}, self ${app.ipv4} 8080`);
  });

  it('shows the application the real client in accept() and getpeername(), over IPv6', async () => {
    const { self, reply } = await network.dial(client, 'blocking', [app.ipv6, 8081]);
    expect(self).toMatch(new RegExp(`^${client.ipv6} \\d+$`));
    expect(reply).toBe(`accepted ${self}, peer ${self}, self ${app.ipv6} 8081`);
  });

  it('shows an IPv6 application that serves IPv4 the mapped address', async () => {
    const { self, reply } = await network.dial(client, 'blocking', [app.ipv4, 8081]);
    expect(reply).toBe(`accepted ::ffff:${self}, peer ::ffff:${self}, self ::ffff:${app.ipv4} 8081`);
  });

  it('shows the real client when the application has a queue of connections, under SYN cookies', async () => {
    network.sysctl(app, 'net.ipv4.tcp_syncookies=2');
    try {
      const dials = Array.from({ length: 30 }, () => network.dial(client, 'blocking', [app.ipv4, 8080]));
      for (const { self, reply } of await Promise.all(dials)) {
        expect(reply).toBe(`accepted ${self}, peer ${self}, self ${app.ipv4} 8080`);
      }
    } finally {
      network.sysctl(app, 'net.ipv4.tcp_syncookies=1');
    }
  });

  it('steers port 15008 to the HBONE listeners, whatever the family', async () => {
    expect((await network.dial(client, 'blocking', [app.ipv4, 15008])).reply).toBe('hbone');
    expect((await network.dial(client, 'blocking', [app.ipv6, 15008])).reply).toBe('hbone');
  });

  it('steers the ports of the proxy itself like any other: nobody outside reaches its outbound listener', async () => {
    const { reply } = await network.dial(client, 'blocking', [app.ipv4, 15001]);
    expect(reply).toBe('no destination');
  });

  it('steers ports on which nothing listens', async () => {
    // Without capture the connect would fail: the proxy takes it, finds nothing behind and closes.
    expect((await network.dial(client, 'blocking', [app.ipv4, 9])).step).not.toBe('connect');
  });

  it('lets the pod reach itself', async () => {
    expect((await network.dial(app, 'blocking', ['127.0.0.1', 8080])).reply).toContain('accepted 127.0.0.1 ');
    expect((await network.dial(app, 'blocking', ['::1', 8081])).reply).toContain('accepted ::1 ');
  });

  it('takes the next of the listeners when one is closed, and refuses when all are', async () => {
    const pod = network.addPod('replaced');
    const first = new TestProxy(redirect, pod);
    const second = new TestProxy(redirect, pod);
    redirect.attach('replaced', {
      ...first.capture,
      hboneListeners: [...first.capture.hboneListeners, ...second.capture.hboneListeners],
    });
    await network.serve(pod, 'serve', ['0.0.0.0', 8080]);
    await first.close();
    expect((await network.dial(client, 'blocking', [pod.ipv4, 15008])).reply).toBe('hbone');
    // Plaintext had only the first proxy's listeners: the application must not be reached without a proxy.
    const refused = { step: 'connect', error: 'ECONNREFUSED' };
    expect(await network.dial(client, 'blocking', [pod.ipv4, 8080])).toEqual(refused);
    redirect.attach('replaced', second.capture);
    expect((await network.dial(client, 'blocking', [pod.ipv4, 8080])).reply).toContain(
      `accepted ${client.ipv4} `,
    );
    await second.close();
    expect(await network.dial(client, 'blocking', [pod.ipv4, 8080])).toEqual(refused);
    expect(await network.dial(client, 'blocking', [pod.ipv6, 15008])).toEqual(refused);
    redirect.detach('replaced');
    expect((await network.dial(client, 'blocking', [pod.ipv4, 8080])).reply).toContain(
      `accepted ${client.ipv4} `,
    );
  });

  it('keeps two pods with equal addresses apart', async () => {
    const twin = network.addPod('twin');
    execFileSync('ip', ['-n', twin.name, 'address', 'add', `${app.ipv4}/32`, 'dev', 'lo']);
    const twinProxy = new TestProxy(redirect, twin, { addresses: [app.ipv4, twin.ipv6] });
    redirect.attach('twin', twinProxy.capture);
    const { self, reply } = await network.dial(client, 'blocking', [app.ipv4, 8080]);
    expect(reply).toBe(`accepted ${self}, peer ${self}, self ${app.ipv4} 8080`);
    expect((await network.dial(client, 'blocking', [twin.ipv6, 15008])).reply).toBe('hbone');
    redirect.detach('twin');
    await twinProxy.close();
  });

  it('rejects a capture that can not work, and captures nothing', () => {
    const attach = (change: object) => () => redirect.attach('bad', { ...proxy.capture, ...change });
    expect(attach({ netnsPath: '/run/netns/nowhere' })).toThrow(
      /Could not open network namespace "\/run\/netns\/nowhere"/,
    );
    expect(attach({ netnsPath: '/proc/self/ns/net' })).toThrow(/is the proxy's own \(hostNetwork\)/);
    expect(attach({ netnsPath: client.netnsPath })).toThrow(/hboneListeners is not a socket made in/);
    expect(attach({ addresses: [] })).toThrow(/it has 0 addresses/);
    expect(attach({ plaintextListeners: [] })).toThrow(/it has 0 plaintextListeners/);
    expect(attach({ outboundListeners: [] })).toThrow(/it has 0 outboundListeners/);
    expect(attach({ dnsListeners: proxy.capture.hboneListeners.concat(Array(16).fill(0)) })).toThrow(
      /it has 18 dnsListeners, 0 to 16/,
    );
    expect(attach({ outboundPort: 0 })).toThrow(/outboundPort is 0/);
    expect(() => redirect.attach('x'.repeat(500), proxy.capture)).toThrow(/its uid has 500 bytes/);
    expect(redirect.listPods().map(({ uid }) => uid)).toEqual(['app']);
  });
});
