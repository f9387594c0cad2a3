import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ip } from '../model/fixture.ts';
import { ipFromBytes } from '../model/ip-address.ts';
import * as libc from './libc.ts';
import { listenTcp, localAddress, remoteAddress } from './socket.ts';
import { decodeSockaddr, encodeSockaddr, familyOf } from './socket-address.ts';

const port = fc.nat(65_535);

describe('encodeSockaddr() and decodeSockaddr()', () => {
  it('bring every IPv4 and IPv6 address and port back', () => {
    const bytes = fc.oneof(
      fc.uint8Array({ minLength: 4, maxLength: 4 }),
      fc.uint8Array({ minLength: 16, maxLength: 16 }),
    );
    fc.assert(
      fc.property(bytes, port, (raw, number) => {
        const address = ipFromBytes(raw);
        const length = encodeSockaddr({ address, port: number });
        expect(length).toBe(familyOf(address) === libc.AF_INET ? 16 : 28);
        expect(decodeSockaddr()).toEqual({ address, port: number });
      }),
    );
  });

  it('leave nothing of a longer address behind a shorter one', () => {
    encodeSockaddr({ address: ip('ffff:ffff::ffff'), port: 65_535 });
    encodeSockaddr({ address: ip('10.0.0.1'), port: 1 });
    expect(decodeSockaddr()).toEqual({ address: '10.0.0.1', port: 1 });
  });

  it('write the IPv4-mapped form of an address as IPv4', () => {
    expect(encodeSockaddr({ address: ip('::ffff:10.1.2.3'), port: 80 })).toBe(16);
    expect(decodeSockaddr().address).toBe('10.1.2.3');
  });
});

describe('addresses of real sockets', () => {
  it.each(['127.0.0.1', '::1'])('a listener at %s says where it is, and has no peer', (text) => {
    const fd = listenTcp({ address: ip(text), port: 0 });
    try {
      const at = localAddress(fd);
      expect(at.address).toBe(text);
      expect(at.port).toBeGreaterThan(0);
      expect(remoteAddress(fd)).toBeUndefined();
    } finally {
      libc.close(fd);
    }
  });

  it('an IPv6 socket at an IPv4-mapped address is read as IPv4', async () => {
    const server = createServer().listen(0, '::ffff:127.0.0.1');
    await once(server, 'listening');
    const fd = (server as unknown as { _handle: { fd: number } })._handle.fd;
    expect(server.address()).toMatchObject({ family: 'IPv6' });
    expect(localAddress(fd)).toEqual({
      address: '127.0.0.1',
      port: (server.address() as AddressInfo).port,
    });
    server.close();
    await once(server, 'close');
  });
});

describe('listenTcp()', () => {
  it('names address, port and cause when the place is taken', () => {
    const fd = listenTcp({ address: ip('127.0.0.1'), port: 0 }, { reusePort: false });
    try {
      const at = localAddress(fd);
      expect(() => listenTcp(at, { reusePort: false })).toThrow(
        `Could not listen on 127.0.0.1 port ${at.port}: EADDRINUSE`,
      );
    } finally {
      libc.close(fd);
    }
  });
});
