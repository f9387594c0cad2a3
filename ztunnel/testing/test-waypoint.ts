// A waypoint that does nothing but forward, on Node's own HTTP/2 and TLS: an independent other side for the node tunnel,
// in a pod of the rig that is not captured. Remembers what it was asked, and by whom.

import { once } from 'node:events';
import http2 from 'node:http2';
import tls from 'node:tls';
import { withNetns } from '../../mesh/io/netns.ts';
import { listenTcp } from '../../mesh/io/socket.ts';
import type { TlsCredentials } from '../../mesh/io/tls-context.ts';
import { ports } from '../ports.ts';
import type { RigPod } from './data-plane-rig.ts';
import { connectFrom } from './pod-sockets.ts';

export interface Asked {
  readonly authority: string;
  /** SPIFFE ID of the client's certificate. */
  readonly peer: string;
  /** Address the tunnel comes from. */
  readonly address: string;
  readonly forwarded: string;
  readonly baggage: string;
}

/** Where a connection goes on to: a pod's address and port, or an error status for the CONNECT. */
export type Onward = { readonly host: string; readonly port: number } | { readonly status: number };

export class TestWaypoint implements AsyncDisposable {
  readonly asked: Asked[] = [];
  readonly #pod: RigPod;
  readonly #credentials: TlsCredentials;
  readonly #onward: (asked: Asked) => Onward;
  readonly #servers: http2.Http2SecureServer[];
  readonly #sessions = new Set<http2.Http2Session>();

  /** Accepts when this returns. */
  constructor(
    pod: RigPod,
    options: { readonly credentials: TlsCredentials; readonly onward: (asked: Asked) => Onward },
  ) {
    this.#pod = pod;
    this.#credentials = options.credentials;
    this.#onward = options.onward;
    this.#servers = [pod.ipv4, pod.ipv6].map((address) => {
      const fd = withNetns(pod.netnsPath, () => listenTcp({ address, port: ports.hbone }));
      const server = http2.createSecureServer({
        ...this.#tls(),
        requestCert: true,
        rejectUnauthorized: true,
      });
      server.on('session', (session) => this.#keep(session));
      server.on('stream', (stream: http2.ServerHttp2Stream, headers) => this.#onStream(stream, headers));
      server.listen({ fd });
      return server;
    });
  }

  /** As a killed process: its connections are reset and nothing listens any more. */
  async [Symbol.asyncDispose](): Promise<void> {
    const ended = this.#servers.map((server) => once(server, 'close'));
    for (const server of this.#servers) server.close();
    for (const session of this.#sessions) session.destroy();
    await Promise.all(ended);
  }

  #tls() {
    const { privateKeyPem: key, chainPem: cert, rootsPem: ca } = this.#credentials;
    return { key, cert, ca, minVersion: 'TLSv1.3', ALPNProtocols: ['h2'] } as const;
  }

  #keep(session: http2.Http2Session): void {
    this.#sessions.add(session);
    session.on('error', () => {});
    session.once('close', () => this.#sessions.delete(session));
  }

  #onStream(stream: http2.ServerHttp2Stream, headers: http2.IncomingHttpHeaders): void {
    const socket = stream.session?.socket as tls.TLSSocket;
    const asked: Asked = {
      authority: headers[':authority'] ?? '',
      peer: (socket.getPeerCertificate().subjectaltname ?? '').replace(/^URI:/, ''),
      address: socket.remoteAddress ?? '',
      forwarded: String(headers['forwarded'] ?? ''),
      baggage: String(headers['baggage'] ?? ''),
    };
    this.asked.push(asked);
    stream.on('error', () => {});
    const onward = this.#onward(asked);
    if ('status' in onward) stream.respond({ ':status': onward.status }, { endStream: true });
    else this.#forward(stream, asked, onward);
  }

  /** A tunnel of its own for each connection; the client's address goes along. */
  #forward(
    stream: http2.ServerHttp2Stream,
    { forwarded }: Asked,
    { host, port }: Extract<Onward, { host: string }>,
  ): void {
    const socket = tls.connect({
      ...this.#tls(),
      socket: connectFrom(this.#pod, host, ports.hbone),
      checkServerIdentity: () => undefined,
    });
    const session = http2.connect('https://waypoint', { createConnection: () => socket });
    this.#keep(session);
    const authority = host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
    const request = session.request({ ':method': 'CONNECT', ':authority': authority, forwarded });
    request.on('error', () => stream.close(http2.constants.NGHTTP2_INTERNAL_ERROR));
    request.on('response', ({ ':status': status }) => {
      if (stream.destroyed) return;
      if (status !== 200) return stream.respond({ ':status': Number(status) }, { endStream: true });
      stream.respond({ ':status': 200 });
      stream.pipe(request);
      request.pipe(stream);
    });
    for (const side of [request, stream]) side.once('close', () => session.destroy());
  }
}
