// Sends queries of one pod on to its nameservers, from inside the pod, and brings back the replies untouched. Each
// query has a socket (so a random source port) and a random id of its own; a reply counts only from the server asked,
// with that id and the same question. Bounded by the number of queries under way.

import { randomInt } from 'node:crypto';
import dgram from 'node:dgram';
import net from 'node:net';
import * as libc from '../mesh/io/libc.ts';
import { type IpAddress, isIpv6 } from '../mesh/model/ip-address.ts';
import type { Clock } from '../mesh/runtime/clock.ts';
import { rcodes } from './dns-message.ts';
import type { DnsSockets } from './dns-sockets.ts';
import { DnsFrameReader, frameDns } from './dns-tcp.ts';

export interface DnsUpstreamOptions {
  readonly sockets: DnsSockets;
  readonly nameservers: readonly IpAddress[];
  readonly clock: Clock;
  /** Nameserver port; other than 53 in tests only. */
  readonly port?: number;
  /** For one server; the C library waits 5 s for all. */
  readonly timeoutMs?: number;
  /** Queries under way; further ones fail at once. */
  readonly maxOutstanding?: number;
}

interface Exchange {
  readonly abort: () => void;
}

export class DnsUpstream {
  readonly #options: Required<DnsUpstreamOptions>;
  readonly #exchanges = new Set<Exchange>();
  #closed = false;

  constructor(options: DnsUpstreamOptions) {
    this.#options = { port: 53, timeoutMs: 2_000, maxOutstanding: 256, ...options };
  }

  get outstanding(): number {
    return this.#exchanges.size;
  }

  /**
   * Asks one server after the other, each once and at most two. The last answer counts, also a negative one; undefined
   * if there was none, or too many queries are under way.
   * @param headLength bytes of header and question, which the reply must repeat
   */
  async query(packet: Buffer, headLength: number, protocol: 'udp' | 'tcp'): Promise<Buffer | undefined> {
    const { nameservers } = this.#options;
    // A single server is asked twice: a lost packet is the usual reason.
    const servers = nameservers.length === 1 ? [...nameservers, ...nameservers] : nameservers.slice(0, 2);
    let last: Buffer | undefined;
    for (const server of servers) {
      if (this.#closed || this.#exchanges.size >= this.#options.maxOutstanding) return last;
      const reply = await this.#ask(packet, headLength, { server, protocol });
      if (reply === undefined) continue;
      last = reply;
      if (!isServerFailure(reply)) break;
    }
    return last;
  }

  close(): void {
    this.#closed = true;
    for (const exchange of [...this.#exchanges]) exchange.abort();
  }

  #ask(
    packet: Buffer,
    headLength: number,
    { server, protocol }: { readonly server: IpAddress; readonly protocol: 'udp' | 'tcp' },
  ): Promise<Buffer | undefined> {
    return new Promise((resolve) => {
      const id = randomInt(0x10000);
      const request = Buffer.from(packet);
      request.writeUInt16BE(id, 0);
      let stop = (): void => {};
      const finish = (reply: Buffer | undefined): void => {
        if (!this.#exchanges.delete(exchange)) return;
        timer.cancel();
        stop();
        resolve(reply);
      };
      const receive = (reply: Buffer): void => {
        if (!matches(request, reply, headLength)) return;
        const restored = Buffer.from(reply);
        packet.copy(restored, 0, 0, 2);
        finish(restored);
      };
      const exchange: Exchange = { abort: () => finish(undefined) };
      this.#exchanges.add(exchange);
      const timer = this.#options.clock.after(this.#options.timeoutMs, exchange.abort, { unref: true });
      try {
        stop =
          protocol === 'udp'
            ? this.#sendUdp(server, request, receive, exchange.abort)
            : this.#sendTcp(server, request, receive, exchange.abort);
      } catch {
        exchange.abort();
      }
    });
  }

  #sendUdp(
    server: IpAddress,
    request: Buffer,
    receive: (reply: Buffer) => void,
    fail: () => void,
  ): () => void {
    const fd = this.#options.sockets.udpTo(server);
    const socket = dgram.createSocket(isIpv6(server) ? 'udp6' : 'udp4');
    adopt(fd, () => socket.bind({ fd }));
    socket.on('error', fail);
    socket.on('message', receive);
    // Connected: the kernel takes replies from this server only, and reports a port nobody listens on.
    socket.connect(this.#options.port, server, ((error?: Error) => {
      if (error) fail();
      else socket.send(request, (failure) => failure && fail());
    }) as () => void);
    return () => socket.close();
  }

  #sendTcp(
    server: IpAddress,
    request: Buffer,
    receive: (reply: Buffer) => void,
    fail: () => void,
  ): () => void {
    const fd = this.#options.sockets.tcpTo(server);
    const socket = adopt(fd, () => new net.Socket({ fd }));
    const reader = new DnsFrameReader(receive);
    socket.on('error', fail);
    socket.on('close', fail);
    socket.on('data', (chunk: Buffer) => reader.push(chunk));
    socket.connect(this.#options.port, server, () => socket.write(frameDns(request)));
    return () => socket.destroy();
  }
}

/** The descriptor is closed if Node does not take it. */
function adopt<T>(fd: number, take: () => T): T {
  try {
    return take();
  } catch (error) {
    libc.close(fd);
    throw error;
  }
}

/** RFC 5452 section 9: a response, with our id and our question (the header's counts aside). */
function matches(request: Buffer, reply: Buffer, headLength: number): boolean {
  if (reply.length < 12 || reply.readUInt16BE(0) !== request.readUInt16BE(0)) return false;
  if (((reply[2] as number) & 0x80) === 0) return false;
  // An error may come without the question (FORMERR of old servers).
  if (reply.readUInt16BE(4) === 0) return (reply.readUInt16BE(2) & 15) !== rcodes.NOERROR;
  return (
    reply.length >= headLength && reply.subarray(12, headLength).equals(request.subarray(12, headLength))
  );
}

function isServerFailure(reply: Buffer): boolean {
  const rcode = reply.readUInt16BE(2) & 15;
  return rcode === rcodes.SERVFAIL || rcode === rcodes.REFUSED;
}
