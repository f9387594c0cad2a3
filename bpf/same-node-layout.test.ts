import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type IpAddress, ipFromBytes, parseIpAddress } from '../mesh/model/ip-address.ts';
import { readAddress, writeAddress } from './map-layout.ts';
import {
  decodeCounters,
  decodeFlowEvent,
  decodeLiveFlow,
  encodeShortcut,
  encodeShortcutKey,
  flowEventSize,
  liveFlowSize,
  shortcutKeySize,
  shortcutSize,
} from './same-node-layout.ts';

const ip = (text: string) => parseIpAddress(text) as IpAddress;
const address = fc.uint8Array({ minLength: 4, maxLength: 4 }).map(ipFromBytes);
const port = fc.integer({ min: 1, max: 65535 });
const cookie = fc.bigInt({ min: 0n, max: (1n << 64n) - 1n });
const end = fc.record({ address, port });

describe('verdicts', () => {
  it('name the pod, then the mapped address, then the port in host order', () => {
    const key = encodeShortcutKey({
      netnsCookie: 0x0102n,
      destination: { address: ip('10.0.0.1'), port: 0x1234 },
    });
    expect(key).toHaveLength(shortcutKeySize);
    expect(key.toString('hex')).toBe(
      '0201000000000000' + '00000000000000000000ffff0a000001' + '3412' + '000000000000',
    );
  });

  it('hold each endpoint at its place, and no more than fit', () => {
    const endpoint = fc.record({ address, port, netnsCookie: cookie });
    fc.assert(
      fc.property(cookie, fc.array(endpoint, { minLength: 1, maxLength: 8 }), (generation, endpoints) => {
        const out = encodeShortcut(generation, endpoints);
        expect(out).toHaveLength(shortcutSize);
        expect(out.readBigUInt64LE(0)).toBe(generation);
        expect(out.readUInt32LE(8)).toBe(endpoints.length);
        for (const [i, one] of endpoints.entries()) {
          expect(out.readBigUInt64LE(16 + 32 * i)).toBe(one.netnsCookie);
          expect(readAddress(out, 24 + 32 * i)).toBe(one.address);
          expect(out.readUInt16LE(40 + 32 * i)).toBe(one.port);
        }
      }),
    );
    const one = { address: ip('10.0.0.1'), port: 1, netnsCookie: 1n };
    for (const count of [0, 9]) {
      expect(() =>
        encodeShortcut(
          1n,
          Array.from({ length: count }, () => one),
        ),
      ).toThrow(/has 1 to 8 endpoints/);
    }
  });
});

describe('what the kernel tells', () => {
  const flow = fc.record({
    sourceNetns: cookie,
    destinationNetns: cookie,
    source: end,
    destination: end,
    asked: end,
  });

  it('gives back every flow, alone and in an event', () => {
    fc.assert(
      fc.property(flow, cookie, (given, socket) => {
        const bytes = Buffer.alloc(liveFlowSize);
        bytes.writeBigUInt64LE(given.sourceNetns, 0);
        bytes.writeBigUInt64LE(given.destinationNetns, 8);
        for (const [i, name] of (['source', 'destination', 'asked'] as const).entries()) {
          writeAddress(bytes, 16 + 16 * i, given[name].address);
          bytes.writeUInt16LE(given[name].port, 64 + 2 * i);
        }
        expect(decodeLiveFlow(bytes)).toEqual(given);
        const event = Buffer.alloc(flowEventSize);
        event.writeBigUInt64LE(socket, 0);
        event.writeUInt32LE(2, 8);
        event.writeUInt32LE(250, 12);
        event.writeBigUInt64LE(7n, 16);
        event.writeBigUInt64LE(9n, 24);
        event.writeBigUInt64LE(1_500_000n, 32);
        event.set(bytes, 40);
        expect(decodeFlowEvent(event)).toEqual({
          cookie: socket,
          kind: 'closed',
          rttUs: 250,
          received: 7,
          sent: 9,
          durationMs: 1.5,
          flow: given,
        });
      }),
    );
  });

  it('passes over an event of a kind it does not know', () => {
    expect(decodeFlowEvent(Buffer.alloc(flowEventSize))).toBeUndefined();
  });

  it('reads the counters in their order', () => {
    const bytes = Buffer.alloc(32);
    for (let i = 0; i < 4; i++) bytes.writeBigUInt64LE(BigInt(i + 1), 8 * i);
    expect(decodeCounters(bytes)).toEqual({ live: 1, lost: 2, refused: 3, full: 4 });
  });
});
