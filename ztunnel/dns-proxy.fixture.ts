// A nameserver and clients on real sockets for tests of the DNS proxy. For tests only.

import dgram from 'node:dgram';
import net from 'node:net';
import { type DecodedPacket, decode, encode } from 'dns-packet';
import { DnsFrameReader, frameDns } from './dns-tcp.ts';
import type { DnsMetrics } from './dns-proxy.ts';

/** Raw packet in, raw packets out; `[]` for silence. */
export type Nameserver = (request: Buffer, protocol: 'udp' | 'tcp') => readonly Buffer[];

export interface RunningNameserver {
  readonly port: number;
  readonly requests: Buffer[];
  close(): Promise<void>;
}

/** Serves UDP and TCP at one port of `address`. */
export async function startNameserver(serve: Nameserver, address = '127.0.0.1'): Promise<RunningNameserver> {
  const requests: Buffer[] = [];
  const udp = dgram.createSocket('udp4');
  udp.on('message', (request, from) => {
    requests.push(request);
    for (const reply of serve(request, 'udp')) udp.send(reply, from.port, from.address);
  });
  const tcp = net.createServer((socket) => {
    const reader = new DnsFrameReader((request) => {
      requests.push(request);
      for (const reply of serve(request, 'tcp')) socket.write(frameDns(reply));
    });
    socket.on('data', (chunk: Buffer) => reader.push(chunk));
    socket.on('error', () => socket.destroy());
  });
  await new Promise<void>((resolve) => tcp.listen(0, address, resolve));
  const { port } = tcp.address() as net.AddressInfo;
  await new Promise<void>((resolve) => udp.bind(port, address, resolve));
  return {
    port,
    requests,
    async close() {
      await new Promise<void>((resolve) => udp.close(() => resolve()));
      await new Promise<void>((resolve) => tcp.close(() => resolve()));
    },
  };
}

/** The reply of a plain nameserver: one A record. */
export function replyTo(request: Buffer, address: string, flags = 0x8180): Buffer {
  const { id, questions } = decode(request);
  const name = questions?.[0]?.name ?? '.';
  return encode({
    type: 'response',
    id: id ?? 0,
    flags: flags & 0x7fff,
    questions: questions ?? [],
    answers: [{ type: 'A', name, ttl: 5, data: address }],
  });
}

export function makeQuery(name: string, type: 'A' | 'AAAA' | 'SRV' | 'MX' = 'A', id = 4242): Buffer {
  return encode({ type: 'query', id, flags: 0x100, questions: [{ type, name }] });
}

/** One datagram out, one back. */
export function askUdp(
  at: { readonly address: string; readonly port: number },
  packet: Buffer,
): Promise<Buffer> {
  const socket = dgram.createSocket(at.address.includes(':') ? 'udp6' : 'udp4');
  return new Promise<Buffer>((resolve, reject) => {
    socket.once('message', resolve);
    socket.once('error', reject);
    socket.send(packet, at.port, at.address);
  }).finally(() => socket.close());
}

/** All packets over one connection, resolved when as many replies came. */
export function askTcp(
  at: { readonly address: string; readonly port: number },
  packets: readonly Buffer[],
): Promise<readonly Buffer[]> {
  return new Promise((resolve, reject) => {
    const replies: Buffer[] = [];
    const socket = net.connect(at.port, at.address, () => socket.write(Buffer.concat(packets.map(frameDns))));
    const reader = new DnsFrameReader((reply) => {
      replies.push(reply);
      if (replies.length < packets.length) return;
      socket.end();
      resolve(replies);
    });
    socket.on('data', (chunk: Buffer) => reader.push(chunk));
    socket.on('error', reject);
  });
}

export function addressesIn(reply: Buffer): readonly string[] {
  const packet: DecodedPacket = decode(reply);
  return (packet.answers ?? []).flatMap((record) =>
    record.type === 'A' || record.type === 'AAAA' ? [record.data] : [],
  );
}

/** Counts calls by name. */
export function countingMetrics(): DnsMetrics & { readonly counts: Record<string, number> } {
  const counts: Record<string, number> = {};
  const count = (name: string) => () => {
    counts[name] = (counts[name] ?? 0) + 1;
  };
  return {
    counts,
    request: count('request'),
    upstreamRequest: count('upstreamRequest'),
    upstreamFailure: count('upstreamFailure'),
    upstreamDuration: count('upstreamDuration'),
  };
}
