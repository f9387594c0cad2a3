import { decode, encode } from 'dns-packet';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type DnsQuery,
  type DnsRecord,
  encodeResponse,
  errorResponse,
  parseQuery,
  rcodes,
} from './dns-message.ts';

function query(name: string, options: { udpSize?: number; id?: number } = {}): Buffer {
  return encode({
    type: 'query',
    id: options.id ?? 7,
    flags: 0x100,
    questions: [{ type: 'A', name }],
    additionals:
      options.udpSize === undefined
        ? []
        : [
            {
              type: 'OPT',
              name: '.',
              udpPayloadSize: options.udpSize,
              extendedRcode: 0,
              ednsVersion: 0,
              flags: 0,
              flag_do: false,
              options: [],
            },
          ],
  });
}

function parsed(packet: Buffer): DnsQuery {
  const result = parseQuery(packet);
  if (result.kind !== 'query') throw new Error(result.kind);
  return result.query;
}

const records = (count: number): DnsRecord[] =>
  Array.from({ length: count }, (_, i) => ({ type: 'A', name: 'api.shop', ttl: 30, data: `10.0.0.${i}` }));

describe('parseQuery()', () => {
  it('reads name, type, id and EDNS0 size', () => {
    expect(parsed(query('API.shop', { udpSize: 1400, id: 99 }))).toMatchObject({
      id: 99,
      name: 'api.shop',
      askedName: 'API.shop',
      type: 1,
      class: 1,
      recursionDesired: true,
      udpSize: 1400,
    });
    expect(parsed(query('a')).udpSize).toBeUndefined();
  });

  it('has no name for labels that no hostname has, so that they are never answered', () => {
    const packet = query('api-shop');
    packet[16] = 0x2e;
    expect(parsed(packet).name).toBeUndefined();
  });

  it('drops responses and fragments of a header', () => {
    const packet = query('a');
    packet[2] = 0x81;
    expect(parseQuery(packet)).toEqual({ kind: 'drop' });
    expect(parseQuery(Buffer.alloc(11))).toEqual({ kind: 'drop' });
  });

  it.each([
    ['two questions', (packet: Buffer) => packet.writeUInt16BE(2, 4), rcodes.FORMERR],
    ['no question', (packet: Buffer) => packet.writeUInt16BE(0, 4), rcodes.FORMERR],
    ['a compressed name', (packet: Buffer) => packet.writeUInt16BE(0xc00c, 12), rcodes.FORMERR],
    ['records that are not there', (packet: Buffer) => packet.writeUInt16BE(1, 10), rcodes.FORMERR],
    ['an UPDATE', (packet: Buffer) => packet.writeUInt8(5 << 3, 2), rcodes.NOTIMP],
  ])('refuses %s', (_, spoil, rcode) => {
    const packet = query('api.shop');
    spoil(packet);
    const result = parseQuery(packet);
    expect(result.kind).toBe('error');
    const response = (result as { response: Buffer }).response;
    expect(response.readUInt16BE(0)).toBe(7);
    expect(response.readUInt16BE(2) & 0x800f).toBe(0x8000 | rcode);
    expect(response).toHaveLength(12);
  });

  it('takes any bytes without throwing, and what it takes can be answered', () => {
    const mutated = fc
      .tuple(
        fc.constantFrom(query('api.shop'), query('a.b.c', { udpSize: 512 })),
        fc.array(fc.tuple(fc.nat(80), fc.nat(255))),
      )
      .map(([base, edits]) => {
        const packet = Buffer.from(base);
        for (const [at, value] of edits) if (at < packet.length) packet[at] = value;
        return packet;
      });
    const bytes = fc.uint8Array({ maxLength: 600 }).map((array) => Buffer.from(array));
    fc.assert(
      fc.property(fc.oneof(mutated, bytes), (packet) => {
        const result = parseQuery(packet);
        if (result.kind !== 'query') return;
        const { query } = result;
        const limit = Math.min(Math.max(query.udpSize ?? 0, 512), 4096);
        expect(
          encodeResponse(query, { answers: records(3), additionals: [] }, 'udp').length,
        ).toBeLessThanOrEqual(Math.max(limit, query.head.length + 11));
        expect(errorResponse(query.head, rcodes.SERVFAIL)).toHaveLength(query.head.length);
      }),
      { numRuns: 2_000 },
    );
  });
});

describe('encodeResponse()', () => {
  it('repeats the question byte for byte, with AA, RA and the records', () => {
    const packet = query('ApI.shop');
    const response = encodeResponse(parsed(packet), { answers: records(2), additionals: [] }, 'udp');
    expect(response.subarray(12, packet.length)).toEqual(packet.subarray(12));
    expect(decode(response)).toMatchObject({
      id: 7,
      flag_aa: true,
      flag_ra: true,
      flag_rd: true,
      flag_tc: false,
      rcode: 'NOERROR',
      answers: [{ data: '10.0.0.0' }, { data: '10.0.0.1' }],
    });
  });

  it('is truncated over UDP by 512 bytes or the EDNS0 size, and whole over TCP', () => {
    const answers = records(40);
    const plain = decode(encodeResponse(parsed(query('api.shop')), { answers, additionals: [] }, 'udp'));
    expect([plain.flag_tc, plain.answers?.length]).toEqual([true, 0]);
    const edns = decode(
      encodeResponse(parsed(query('api.shop', { udpSize: 4096 })), { answers, additionals: [] }, 'udp'),
    );
    expect([edns.flag_tc, edns.answers?.length]).toEqual([false, 40]);
    expect(edns.additionals?.[0]).toMatchObject({ type: 'OPT', udpPayloadSize: 1232 });
    const tcp = decode(encodeResponse(parsed(query('api.shop')), { answers, additionals: [] }, 'tcp'));
    expect(tcp.answers).toHaveLength(40);
  });

  it('gives up the additional records before the answers', () => {
    const response = decode(
      encodeResponse(parsed(query('api.shop')), { answers: records(10), additionals: records(40) }, 'udp'),
    );
    expect([response.answers?.length, response.additionals?.length, response.flag_tc]).toEqual([
      10,
      0,
      false,
    ]);
  });
});
