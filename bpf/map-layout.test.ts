import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type IpAddress, ipFromBytes, parseIpAddress } from '../mesh/model/ip-address.ts';
import { BpfError } from './bpf-error.ts';
import {
  decodePod,
  encodeInboundConfig,
  encodePod,
  firstOfEachFamily,
  inboundConfigSize,
  podSize,
  readAddress,
  socketStateSize,
  writeSocketState,
} from './map-layout.ts';

const ip = (text: string) => parseIpAddress(text) as IpAddress;
const bytesOf = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });
const ipv4 = bytesOf(4).map(ipFromBytes);
const ipv6 = bytesOf(16).map(ipFromBytes);
const port = fc.integer({ min: 1, max: 65535 });

describe('socket state', () => {
  it('holds an IPv4 peer as the mapped address, the port in host order', () => {
    const out = Buffer.alloc(socketStateSize, 0xee);
    writeSocketState(out, 2, { address: ip('10.0.0.1'), port: 0x1234 });
    expect(out.toString('hex')).toBe('00000000000000000000ffff0a000001' + '3412' + '02' + '00');
  });

  it('gives back every address', () => {
    fc.assert(
      fc.property(fc.oneof(ipv4, ipv6), port, (address, number) => {
        const out = Buffer.alloc(socketStateSize, 0xee);
        writeSocketState(out, 1, { address, port: number });
        expect(readAddress(out, 0)).toBe(address);
        expect(out.readUInt16LE(16)).toBe(number);
      }),
    );
  });
});

describe('pod entry', () => {
  it('gives back what was put in', () => {
    const uid = fc.string({ minLength: 1, maxLength: 100 }).filter((text) => text.isWellFormed());
    const real6 = ipv6.filter((address) => address.includes(':'));
    const entry = fc.record(
      { uid, outboundPort: port, ipv4, ipv6: real6, dnsPort: port },
      { requiredKeys: ['uid', 'outboundPort'] },
    );
    fc.assert(
      fc.property(entry, (pod) => {
        const bytes = encodePod(pod);
        expect(bytes).toHaveLength(podSize);
        expect(decodePod(bytes)).toEqual(pod);
      }),
    );
  });

  it('rejects an empty uid and one that does not fit', () => {
    for (const uid of ['', 'x'.repeat(469)]) {
      expect(() => encodePod({ uid, outboundPort: 15001 })).toThrow(BpfError);
    }
  });

  it('decodes any bytes without reading outside', () => {
    fc.assert(fc.property(bytesOf(podSize), (bytes) => void decodePod(Buffer.from(bytes))));
  });
});

it('inbound config: addresses one after the other, then the ports, then the numbers of listeners', () => {
  const out = encodeInboundConfig({
    ownAddresses: [ip('10.0.0.1'), ip('fd00::1')],
    hbonePort: 15008,
    outboundPort: 15001,
    dnsPort: 15053,
    listenerCounts: { hbone: 1, plaintext: 2, outbound: 16, dns: 0 },
  });
  expect(out).toHaveLength(inboundConfigSize);
  expect(readAddress(out, 0)).toBe('10.0.0.1');
  expect(readAddress(out, 16)).toBe('fd00::1');
  expect(out.subarray(32, 128).every((byte) => byte === 0)).toBe(true);
  expect([out.readUInt16LE(128), out.readUInt16LE(130), out.readUInt16LE(132)]).toEqual([
    15008, 15053, 15001,
  ]);
  expect([...out.subarray(144, 148)]).toEqual([1, 2, 16, 0]);
});

it('firstOfEachFamily() takes the first address of each family', () => {
  expect(firstOfEachFamily([ip('fd00::1'), ip('10.0.0.1'), ip('10.0.0.2')])).toEqual({
    ipv4: '10.0.0.1',
    ipv6: 'fd00::1',
  });
  expect(firstOfEachFamily([])).toEqual({});
});
