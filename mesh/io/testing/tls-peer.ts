// Our TLS connections on loopback for tests: a listener and a dialler of one reactor, each connection with a sink that
// records what happened to it.

import { ip } from '../../model/fixture.ts';
import { formatSpiffeId, type Identity } from '../../model/spiffe-id.ts';
import type { IoError } from '../io-error.ts';
import * as libc from '../libc.ts';
import type { Reactor } from '../reactor.ts';
import { createTcpSocket, listenTcp, localAddress } from '../socket.ts';
import type { Slab } from '../slab.ts';
import { TcpDial } from '../tcp-dial.ts';
import { TcpListener } from '../tcp-listener.ts';
import { TlsConnection, type TlsSink } from '../tls-connection.ts';
import type { TlsContext } from '../tls-context.ts';

export const loopback = ip('127.0.0.1');

/** One end: what it saw, and what to do with bytes. */
export class TlsPeer implements TlsSink {
  connection!: TlsConnection;
  identities: readonly string[] = [];
  state: 'handshake' | 'up' | 'failed' | 'closed' = 'handshake';
  /** Of a failed handshake or a broken connection. */
  error: IoError | undefined;
  ends = 0;
  writable = 0;
  onBytes: (bytes: Buffer) => void = () => {};
  onWritable: () => void = () => {};

  receive(slab: Slab, offset: number, length: number): void {
    this.onBytes(slab.bytes.subarray(offset, offset + length));
  }

  onTransportWritable(): void {
    this.writable++;
    this.onWritable();
  }

  transportClosed(error: IoError | undefined): void {
    this.state = 'closed';
    this.error = error;
    this.ends++;
  }
}

export interface PeerOptions {
  readonly handshakeTimeoutMs?: number;
  readonly verifyPeer?: (identities: readonly Identity[]) => string | undefined;
  readonly onUp?: (peer: TlsPeer) => void;
}

/** Puts TLS on a connected descriptor. */
export function secure(
  reactor: Reactor,
  socket: ConstructorParameters<typeof TlsConnection>[1],
  context: TlsContext,
  options: PeerOptions = {},
): TlsPeer {
  const peer = new TlsPeer();
  peer.connection = new TlsConnection(reactor, socket, context, {
    handshakeTimeoutMs: options.handshakeTimeoutMs ?? 10_000,
    verifyPeer: options.verifyPeer ?? (() => undefined),
    onUp: (identities) => {
      peer.identities = identities.map(formatSpiffeId);
      peer.state = 'up';
      options.onUp?.(peer);
      return peer;
    },
    onFailed: (error) => {
      peer.state = 'failed';
      peer.error = error;
      peer.ends++;
    },
  });
  return peer;
}

/** Accepts connections and secures each of them. */
export function serveTls(
  reactor: Reactor,
  context: () => TlsContext,
  options: PeerOptions = {},
): { port: number; peers: TlsPeer[]; close: () => void } {
  const fd = listenTcp({ address: loopback, port: 0 });
  const peers: TlsPeer[] = [];
  const listener = new TcpListener(reactor, fd, {
    onConnection: (accepted) => peers.push(secure(reactor, accepted, context(), options)),
  });
  return { port: localAddress(fd).port, peers, close: () => listener.close() };
}

/** Dials and secures; the peer is in the array once TCP stands. */
export function dialTls(
  reactor: Reactor,
  port: number,
  context: TlsContext,
  options: PeerOptions = {},
): TlsPeer[] {
  const peers: TlsPeer[] = [];
  new TcpDial(reactor, createTcpSocket(libc.AF_INET), {
    target: { address: loopback, port },
    timeoutMs: 10_000,
    onConnected: (connected) => peers.push(secure(reactor, connected, context, options)),
    onFailed: (error) => {
      throw error;
    },
  });
  return peers;
}
