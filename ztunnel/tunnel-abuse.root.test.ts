// Port 15008 and the capture ports under abuse: callers that prove nothing, ask for what is not theirs, stop half-way or
// flood. Each gets its documented answer, and a tunnel beside it goes on as if nothing had happened.

import { once } from 'node:events';
import http2 from 'node:http2';
import type net from 'node:net';
import tls from 'node:tls';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { skipKernelTests, skipReason } from '../bpf/testing/kernel-suite.ts';
import { TestAuthority } from '../mesh/io/testing/authority.ts';
import type { TlsCredentials } from '../mesh/io/tls-context.ts';
import { makeService } from '../mesh/model/fixture.ts';
import { DataPlaneRig, type RigPod } from './testing/data-plane-rig.ts';
import {
  connectFrom,
  echo,
  ending,
  type PodServer,
  readAll,
  roundTrip,
  serve,
  within,
} from './testing/pod-sockets.ts';
import { ports } from './ports.ts';

const port = 8080;
const handshakeTimeoutMs = 400;
const served = makeService('shop', 'server.shop.svc.cluster.local', {
  ports: [{ name: 'http', servicePort: 80, targetPort: port, appProtocol: 'unknown' }],
});
const { NGHTTP2_ENHANCE_YOUR_CALM } = http2.constants;

describe.skipIf(skipKernelTests)(`abuse of a captured pod's ports${skipReason}`, () => {
  let rig: DataPlaneRig;
  let client: RigPod;
  let server: RigPod;
  /** Outside the mesh; whatever it presents is made up by the test. */
  let stranger: RigPod;
  let app: PodServer;
  let good: TlsCredentials;
  /** A tunnelled connection that nobody may disturb. */
  let bystander: net.Socket;

  beforeAll(async () => {
    rig = await DataPlaneRig.open({ handshakeTimeoutMs });
    client = await rig.addPod('client');
    const services = new Map([[served.key, [{ servicePort: 82, targetPort: ports.outbound }]]]);
    server = await rig.addPod('server', { node: 'node-2', workload: { services } });
    await rig.apply({
      services: [served, makeService('shop', 'other.shop.svc.cluster.local', { ports: served.ports })],
    });
    stranger = await rig.addPod('stranger', { enrolled: false });
    good = await rig.authority.issue({ uris: ['spiffe://cluster.local/ns/shop/sa/stranger'] });
    app = serve(server, port, echo);
    bystander = connectFrom(client, server.ipv4, port);
  });

  afterEach(async () => {
    expect(await roundTrip(bystander)).toBe('ping');
  });

  afterAll(async () => {
    bystander.destroy();
    await app[Symbol.asyncDispose]();
    for (const node of rig.nodes) expect(node.problems).toEqual([]);
    await rig[Symbol.asyncDispose]();
  });

  function dialTls(credentials: Partial<TlsCredentials>): tls.TLSSocket {
    const socket = tls.connect({
      socket: connectFrom(stranger, server.ipv4, ports.hbone),
      ALPNProtocols: ['h2'],
      ca: rig.authority.rootPem,
      checkServerIdentity: () => undefined,
      ...(credentials.privateKeyPem === undefined ? {} : { key: credentials.privateKeyPem }),
      ...(credentials.chainPem === undefined ? {} : { cert: credentials.chainPem }),
    });
    socket.on('error', () => {});
    return socket;
  }

  /** An HTTP/2 session with a good certificate. */
  async function session(options: http2.SecureClientSessionOptions = {}): Promise<http2.ClientHttp2Session> {
    const socket = dialTls(good);
    await within('TLS', once(socket, 'secureConnect'));
    const opened = http2.connect('https://tunnel', { ...options, createConnection: () => socket });
    opened.on('error', () => {});
    await within('SETTINGS', once(opened, 'remoteSettings'));
    return opened;
  }

  /** The status of the answer, or how the stream ended without one. */
  function answerTo(
    opened: http2.ClientHttp2Session,
    headers: http2.OutgoingHttpHeaders,
  ): Promise<number | string> {
    const stream = opened.request(headers, { endStream: false });
    return within(
      'an answer',
      new Promise((resolve) => {
        stream.on('response', (answer) => resolve(answer[':status'] ?? 'no status'));
        stream.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
        stream.on('close', () => resolve(`closed ${stream.rstCode}`));
      }),
    );
  }

  describe('callers that prove nothing', () => {
    it.each([
      ['no certificate', async () => ({}), /certificate/i],
      [
        'a foreign root',
        async () => (await TestAuthority.create()).issue({ uris: [client.spiffeId] }),
        /peer certificate/,
      ],
      [
        'no SPIFFE identity',
        async () => rig.authority.issue({ dnsNames: ['web.shop'] }),
        /no SPIFFE identity/,
      ],
      [
        'another trust domain',
        async () => rig.authority.issue({ uris: ['spiffe://other.mesh/ns/shop/sa/client'] }),
        /another trust domain: spiffe:\/\/other\.mesh/,
      ],
      [
        'an expired certificate',
        async () => rig.authority.issue({ uris: [client.spiffeId], notAfterMs: -1000 }),
        /has expired/,
      ],
      [
        'a certificate for servers only',
        async () => rig.authority.issue({ uris: [client.spiffeId], usages: ['1.3.6.1.5.5.7.3.1'] }),
        /purpose/,
      ],
    ] as const)('with %s get no HTTP/2, and the log says why', async (_what, credentials, reason) => {
      const from = server.node.log.length;
      const socket = dialTls(await credentials());
      // TLS 1.3: the client learns of its refusal only after its own handshake.
      expect(await ending(socket)).toMatch(/ALERT|ECONNRESET|end|close/);
      expect(socket.bytesRead).toBeLessThan(10_000);
      const line = await server.node.logLine(/TLS_FAILURE/, from);
      expect(line).toMatch(reason);
      expect(line).toContain(`src.addr=${stranger.ipv4}:`);
    });

    it('that speak plaintext HTTP are closed', async () => {
      const from = server.node.log.length;
      const socket = connectFrom(stranger, server.ipv4, ports.hbone);
      socket.write('GET / HTTP/1.1\r\nhost: server\r\n\r\n');
      await ending(socket);
      expect(await server.node.logLine(/TLS_FAILURE/, from)).toMatch(
        /http request|wrong version|TLS handshake failed/i,
      );
    });

    it('that want another protocol than h2 are refused', async () => {
      const socket = tls.connect({
        socket: connectFrom(stranger, server.ipv4, ports.hbone),
        ALPNProtocols: ['http/1.1'],
        ca: rig.authority.rootPem,
        checkServerIdentity: () => undefined,
        key: good.privateKeyPem,
        cert: good.chainPem,
      });
      expect(await ending(socket)).toMatch(/ALERT_NO_APPLICATION_PROTOCOL/);
    });

    it('that stop half-way are closed at the deadline', async () => {
      const from = server.node.log.length;
      const silent = connectFrom(stranger, server.ipv4, ports.hbone);
      const half = connectFrom(stranger, server.ipv4, ports.hbone);
      // The header of a ClientHello of 512 bytes, and nothing of it.
      half.write(Buffer.from([0x16, 3, 1, 2, 0, 1]));
      await Promise.all([ending(silent), ending(half)]);
      await server.node.logLine(new RegExp(`not finished in ${handshakeTimeoutMs} ms`), from);
    });
  });

  describe('requests in a tunnel', () => {
    let opened: http2.ClientHttp2Session;

    beforeAll(async () => {
      opened = await session();
    });

    afterAll(() => {
      opened.destroy();
    });

    const connect = (authority: string) => ({ ':method': 'CONNECT', ':authority': authority });

    it.each([
      ['another pod', () => connect(`${client.ipv4}:${port}`), 400],
      ['an address of no pod', () => connect(`192.0.2.1:${port}`), 400],
      ["the pod's address of the other family", () => connect(`[${server.ipv6}]:${port}`), 400],
      ['loopback', () => connect(`127.0.0.1:${port}`), 400],
      ['no port', () => connect(server.ipv4), 400],
      ['port 0', () => connect(`${server.ipv4}:0`), 400],
      ['a port beyond 65535', () => connect(`${server.ipv4}:65536`), 400],
      ['a hostname that nobody has', () => connect('nobody.shop.svc.cluster.local:80'), 503],
      ['a service that the pod does not serve', () => connect('other.shop.svc.cluster.local:80'), 503],
      ['a port that the service does not have', () => connect(`${served.hostname}:81`), 503],
      ['a mesh port of the service', () => connect(`${served.hostname}:82`), 503],
      ['a service that the pod serves', () => connect(`${served.hostname.toUpperCase()}:80`), 200],
      ['a GET', () => ({ ':method': 'GET', ':path': '/', ':scheme': 'https', ':authority': 'server' }), 400],
      ['15001', () => connect(`${server.ipv4}:${ports.outbound}`), 503],
      ['15006', () => connect(`${server.ipv4}:${ports.plaintext}`), 503],
      ['15008, the tunnel itself', () => connect(`${server.ipv4}:${ports.hbone}`), 503],
      ['a port nobody listens on', () => connect(`${server.ipv4}:9999`), 503],
      ['what it may have', () => connect(`${server.ipv4}:${port}`), 200],
    ] as const)('for %s are answered with their status', async (_what, headers, status) => {
      expect(await answerTo(opened, headers())).toBe(status);
    });

    it('with an authority of 1 MB end only their own tunnel', async () => {
      const abuser = await session({ maxSendHeaderBlockLength: 4 * 1024 * 1024 });
      const goaway = once(abuser, 'goaway') as Promise<[number]>;
      void answerTo(abuser, connect('a'.repeat(1024 * 1024)));
      expect((await within('GOAWAY', goaway))[0]).toBe(NGHTTP2_ENHANCE_YOUR_CALM);
      abuser.destroy();
      expect(await answerTo(opened, connect(`${server.ipv4}:${port}`))).toBe(200);
    });
  });

  describe('floods', () => {
    it('of streams reset at once end in ENHANCE_YOUR_CALM', async () => {
      const abuser = await session();
      const goaway = once(abuser, 'goaway') as Promise<[number]>;
      const timer = setInterval(() => {
        for (let i = 0; i < 50 && !abuser.destroyed; i++) {
          const stream = abuser.request({ ':method': 'CONNECT', ':authority': `${server.ipv4}:${port}` });
          stream.on('error', () => {});
          stream.close(http2.constants.NGHTTP2_CANCEL);
        }
      }, 1);
      try {
        expect((await within('GOAWAY', goaway))[0]).toBe(NGHTTP2_ENHANCE_YOUR_CALM);
      } finally {
        clearInterval(timer);
        abuser.destroy();
      }
    });

    it.each([
      // RFC 9113: length, type, flags, stream, payload.
      ['PING', Buffer.from([0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8])],
      ['SETTINGS', Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0])],
      ['PRIORITY', Buffer.from([0, 0, 5, 2, 0, 0, 0, 0, 1, 0, 0, 0, 3, 0])],
      ['WINDOW_UPDATE', Buffer.from([0, 0, 4, 8, 0, 0, 0, 0, 0, 0, 0, 0, 1])],
    ])('of %s frames end the connection', async (_what, frame) => {
      const socket = dialTls(good);
      await within('TLS', once(socket, 'secureConnect'));
      socket.write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
      socket.write(Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]));
      const answer = readAll(socket).catch(() => Buffer.alloc(0));
      socket.write(Buffer.concat(Array.from({ length: 20_000 }, () => frame)));
      expect(goawayCode(await answer)).toBe(NGHTTP2_ENHANCE_YOUR_CALM);
    });

    it('of connections that never shake hands leave the tunnel alone', async () => {
      const sockets = Array.from({ length: 300 }, () => connectFrom(stranger, server.ipv4, ports.hbone));
      expect(await roundTrip(bystander)).toBe('ping');
      await Promise.all(sockets.map(ending));
      expect(await roundTrip(bystander)).toBe('ping');
    });
  });

  describe('the capture ports', () => {
    it.each([ports.outbound, ports.plaintext])(
      'port %i of another pod is refused from outside the mesh',
      async (captured) => {
        const from = server.node.log.length;
        const before = app.accepted.length;
        const socket = connectFrom(stranger, server.ipv4, captured);
        socket.write('let me in');
        expect(await ending(socket)).toBe('ECONNRESET');
        await server.node.logLine(/belongs to the mesh: a proxy loop/, from);
        expect(app.accepted.length).toBe(before);
      },
    );

    it.each([ports.outbound, ports.plaintext, ports.hbone])(
      'port %i of another pod is refused from inside the mesh',
      async (captured) => {
        const from = client.node.log.length;
        expect(await ending(connectFrom(client, server.ipv4, captured))).toBe('ECONNRESET');
        await client.node.logLine(/belongs to the mesh: a proxy loop/, from);
      },
    );

    it.each([ports.outbound, ports.plaintext, ports.hbone])(
      "a pod's own port %i is refused",
      async (captured) => {
        const from = client.node.log.length;
        expect(await ending(connectFrom(client, client.ipv4, captured))).toBe('ECONNRESET');
        await client.node.logLine(/belongs to the mesh: a proxy loop/, from);
      },
    );

    it.each([ports.outbound, ports.plaintext, ports.hbone])(
      'port %i is not open on loopback',
      async (captured) => {
        const socket = connectFrom(client, '127.0.0.1', captured);
        socket.write('x');
        expect(await ending(socket)).toBe('ECONNREFUSED');
      },
    );
  });
});

/** The error code of the GOAWAY in a server's bytes; undefined without one. */
function goawayCode(bytes: Buffer): number | undefined {
  for (let at = 0; at + 9 <= bytes.length; at += 9 + bytes.readUIntBE(at, 3)) {
    if (bytes[at + 3] === 7) return bytes.readUInt32BE(at + 13);
  }
  return undefined;
}
