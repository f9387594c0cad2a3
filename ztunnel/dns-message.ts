// DNS messages (RFC 1035, EDNS0 of RFC 6891) as the proxy needs them: one question in, one response out. Reads the
// question itself, so that no byte of a query can throw or be misread; dns-packet does the rest of the codec.

import {
  type Answer as DnsRecord,
  AUTHORITATIVE_ANSWER,
  encode,
  RECURSION_AVAILABLE,
  RECURSION_DESIRED,
  TRUNCATED_RESPONSE,
} from 'dns-packet';

export type { DnsRecord };

export interface DnsQuery {
  readonly id: number;
  /** Lower case, without the root dot; undefined if a label has bytes no hostname has. */
  readonly name: string | undefined;
  /** The name with the case it was asked in. */
  readonly askedName: string;
  /** Numeric type: 1 A, 28 AAAA, 33 SRV. */
  readonly type: number;
  /** 1 is IN. */
  readonly class: number;
  readonly recursionDesired: boolean;
  /** What the client takes over UDP, bytes; undefined without EDNS0. */
  readonly udpSize: number | undefined;
  /** Header and question as they came. */
  readonly head: Buffer;
}

export type ParsedQuery =
  | { readonly kind: 'query'; readonly query: DnsQuery }
  /** Answer with this. */
  | { readonly kind: 'error'; readonly response: Buffer }
  /** Not even a query: no answer, or two proxies could answer each other for ever. */
  | { readonly kind: 'drop' };

export const dnsTypes = { A: 1, AAAA: 28, SRV: 33, OPT: 41 } as const;
export const rcodes = { NOERROR: 0, FORMERR: 1, SERVFAIL: 2, NXDOMAIN: 3, NOTIMP: 4, REFUSED: 5 } as const;

/** RFC 1035 section 4.2.1. */
const plainUdpSize = 512;
/** What is offered and at most used over UDP: fits one packet on any path (DNS flag day 2020). */
const ownUdpSize = 1232;
const maxUdpSize = 4096;
const headerSize = 12;

/** Never throws. */
export function parseQuery(packet: Buffer): ParsedQuery {
  if (packet.length < headerSize) return { kind: 'drop' };
  const flags = packet.readUInt16BE(2);
  if ((flags & 0x8000) !== 0) return { kind: 'drop' };
  const opcode = (flags >> 11) & 15;
  if (opcode !== 0)
    return { kind: 'error', response: errorResponse(packet.subarray(0, headerSize), rcodes.NOTIMP) };
  const question = packet.readUInt16BE(4) === 1 ? readQuestion(packet) : undefined;
  const udpSize = question === undefined ? 'bad' : readUdpSize(packet, question.end);
  if (question === undefined || udpSize === 'bad') {
    return { kind: 'error', response: errorResponse(packet.subarray(0, headerSize), rcodes.FORMERR) };
  }
  return {
    kind: 'query',
    query: {
      id: packet.readUInt16BE(0),
      name: question.name,
      askedName: question.askedName,
      type: packet.readUInt16BE(question.end - 4),
      class: packet.readUInt16BE(question.end - 2),
      recursionDesired: (flags & RECURSION_DESIRED) !== 0,
      udpSize,
      head: packet.subarray(0, question.end),
    },
  };
}

/** A response without records. `head` is the header of the query, with the question or without. */
export function errorResponse(head: Buffer, rcode: number): Buffer {
  const response = Buffer.from(head);
  const flags = response.readUInt16BE(2);
  response.writeUInt16BE(
    0x8000 | (flags & 0x7800) | (flags & RECURSION_DESIRED) | RECURSION_AVAILABLE | rcode,
    2,
  );
  response.writeUInt16BE(head.length > headerSize ? 1 : 0, 4);
  response.fill(0, 6, headerSize);
  return response;
}

/** An authoritative response; over UDP one that does not fit has no records and the TC bit. */
export function encodeResponse(
  query: DnsQuery,
  content: { readonly answers: readonly DnsRecord[]; readonly additionals: readonly DnsRecord[] },
  protocol: 'udp' | 'tcp',
): Buffer {
  const limit =
    protocol === 'tcp' ? 65_535 : Math.min(Math.max(query.udpSize ?? 0, plainUdpSize), maxUdpSize);
  const flags = AUTHORITATIVE_ANSWER | RECURSION_AVAILABLE | (query.recursionDesired ? RECURSION_DESIRED : 0);
  const full = encodeRecords(query, flags, content.answers, content.additionals);
  if (full.length <= limit) return full;
  const bare = encodeRecords(query, flags, content.answers, []);
  if (bare.length <= limit) return bare;
  return encodeRecords(query, flags | TRUNCATED_RESPONSE, [], []);
}

function encodeRecords(
  query: DnsQuery,
  flags: number,
  answers: readonly DnsRecord[],
  additionals: readonly DnsRecord[],
): Buffer {
  const opt: DnsRecord[] =
    query.udpSize === undefined
      ? []
      : [
          {
            type: 'OPT',
            name: '.',
            udpPayloadSize: ownUdpSize,
            extendedRcode: 0,
            ednsVersion: 0,
            flags: 0,
            flag_do: false,
            options: [],
          },
        ];
  const records = encode({
    type: 'response',
    id: query.id,
    flags,
    answers: [...answers],
    additionals: [...additionals, ...opt],
  });
  // The question goes back byte for byte, whatever the case of its letters.
  const response = Buffer.concat([
    records.subarray(0, headerSize),
    query.head.subarray(headerSize),
    records.subarray(headerSize),
  ]);
  response.writeUInt16BE(1, 4);
  return response;
}

/** The first question; undefined if it is malformed. A name in a question can not be compressed: nothing precedes it. */
function readQuestion(
  packet: Buffer,
): { name: string | undefined; askedName: string; end: number } | undefined {
  const labels: string[] = [];
  let plain = true;
  let offset = headerSize;
  for (;;) {
    const length = packet[offset];
    if (length === undefined || length > 63 || offset - headerSize > 254) return undefined;
    offset++;
    if (length === 0) break;
    const label = packet.toString('latin1', offset, offset + length);
    if (label.length !== length) return undefined;
    plain &&= /^[A-Za-z0-9_*-]+$/.test(label);
    labels.push(label);
    offset += length;
  }
  const end = offset + 4;
  if (end > packet.length) return undefined;
  const askedName = labels.join('.');
  return { name: plain ? askedName.toLowerCase() : undefined, askedName, end };
}

/** The payload size of the OPT record, if the records after the question are sound and there is one. */
function readUdpSize(packet: Buffer, start: number): number | undefined | 'bad' {
  const records = packet.readUInt16BE(6) + packet.readUInt16BE(8) + packet.readUInt16BE(10);
  let offset = start;
  let size: number | undefined;
  for (let i = 0; i < records; i++) {
    offset = skipName(packet, offset);
    if (offset < 0 || offset + 10 > packet.length) return 'bad';
    if (packet.readUInt16BE(offset) === dnsTypes.OPT) size = packet.readUInt16BE(offset + 2);
    offset += 10 + packet.readUInt16BE(offset + 8);
    if (offset > packet.length) return 'bad';
  }
  return size;
}

/** Offset after the name at `offset`, -1 if it runs out of the packet. */
function skipName(packet: Buffer, offset: number): number {
  for (;;) {
    const length = packet[offset];
    if (length === undefined) return -1;
    if (length === 0) return offset + 1;
    if (length >= 0xc0) return offset + 2;
    if (length > 63) return -1;
    offset += length + 1;
  }
}
