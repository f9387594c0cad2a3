// Windows in both directions: what a stream may send, whose turn it is, and when credit returns.

import { describe, expect, it } from 'vitest';
import { ErrorCode, H2Error } from './error.ts';
import type { Header } from './header.ts';
import type { H2Stream } from './stream.ts';
import { clientPeer, FakePeer, write } from './testing/fake-peer.ts';
import {
  CONNECT,
  dataFrame,
  frame,
  headersFrame,
  POST,
  resetFrame,
  settingsAck,
  settingsFrame,
  windowUpdate,
} from './testing/frames.ts';

const OK: Header[] = [[':status', '200']];

describe('sending', () => {
  it('allows no more than stream window, connection window, frame size and room', () => {
    const peer = clientPeer();
    peer.feed(settingsFrame([[4, 20_000]]));
    const stream = peer.open();
    expect(stream.sendAllowance()).toBe(16_384);
    write(stream, 16_384);
    expect(stream.sendAllowance()).toBe(3616);
    peer.transport.roomLeft = 1000;
    const small = stream.sendAllowance();
    expect(small).toBeGreaterThan(800);
    expect(small).toBeLessThan(991);
    write(stream, small);
    expect(stream.sendAllowance()).toBe(0);
    peer.transport.roomLeft = 1 << 20;
    peer.session.onTransportWritable();
    expect(peer.log).toEqual(['settings', '1 writable']);
    write(stream, stream.sendAllowance());
    expect(stream.sendAllowance()).toBe(0);
    peer.feed(windowUpdate(1, 5));
    expect(peer.log.slice(2)).toEqual(['1 writable']);
    expect(stream.sendAllowance()).toBe(5);
  });

  it('follows a lowered initial window below zero and back', () => {
    const peer = clientPeer();
    const stream = peer.open();
    write(stream, 10_000);
    peer.feed(settingsFrame([[4, 4000]]));
    expect(stream.sendAllowance()).toBe(0);
    peer.feed(windowUpdate(1, 6000));
    expect(stream.sendAllowance()).toBe(0);
    peer.feed(windowUpdate(1, 1));
    expect(stream.sendAllowance()).toBe(1);
  });

  it('wakes a stream only when its own window and the connection are open', () => {
    const peer = clientPeer();
    const stream = peer.open();
    for (let left = 65_535; left > 0; ) {
      const allowed = stream.sendAllowance();
      write(stream, allowed);
      left -= allowed;
    }
    expect(stream.sendAllowance()).toBe(0);
    peer.feed(windowUpdate(0, 10));
    expect(peer.log).toEqual([]);
    peer.feed(windowUpdate(1, 5));
    expect(peer.log).toEqual(['1 writable']);
    expect(stream.sendAllowance()).toBe(5);
  });

  it('gives blocked streams equal turns on a slow transport', () => {
    const peer = new FakePeer({ role: 'client' });
    peer.feed(Buffer.concat([settingsFrame([[4, 0x7fffffff]]), windowUpdate(0, 0x7fffffff - 65_535)]));
    const sent = [0, 0, 0];
    const streams: H2Stream[] = [];
    const pump = (i: number): void => {
      const stream = streams[i] as H2Stream;
      for (let allowed = stream.sendAllowance(); allowed > 0; allowed = stream.sendAllowance()) {
        write(stream, allowed);
        sent[i] = (sent[i] as number) + allowed;
      }
    };
    for (let i = 0; i < 3; i += 1) {
      const stream = peer.session.request(CONNECT, false, { ...peer.recorder(0), onWritable: () => pump(i) });
      streams.push(stream as H2Stream);
    }
    peer.transport.roomLeft = 0;
    for (let i = 0; i < 3; i += 1) pump(i);
    for (let round = 0; round < 60; round += 1) {
      peer.transport.roomLeft = 100_000;
      peer.session.onTransportWritable();
    }
    const total = sent.reduce((a, b) => a + b);
    expect(total).toBeGreaterThan(5_800_000);
    for (const bytes of sent) expect(Math.abs(bytes - total / 3)).toBeLessThan(140_000);
  });

  it('a stream that is reset while it waits is not woken, and does not hold up the others', () => {
    const peer = clientPeer();
    const first = peer.open();
    const second = peer.open();
    peer.transport.roomLeft = 0;
    expect(first.sendAllowance()).toBe(0);
    expect(second.sendAllowance()).toBe(0);
    peer.feed(resetFrame(1));
    peer.transport.roomLeft = 10_000;
    peer.session.onTransportWritable();
    expect(peer.log).toEqual(['1 reset 8', '3 writable']);
  });

  it('flushes a full transport before it makes a stream wait', () => {
    const peer = clientPeer();
    const stream = peer.open();
    peer.transport.roomLeft = 200;
    write(stream, stream.sendAllowance());
    peer.transport.flush = () => {
      peer.transport.roomLeft = 5000;
    };
    expect(stream.sendAllowance()).toBeGreaterThan(4000);
  });

  it('throws when more is written than allowed, before the headers, and after the end', () => {
    const peer = new FakePeer();
    peer.feed(headersFrame(1, POST));
    const stream = peer.stream(1);
    expect(() => write(stream, 1)).toThrow(H2Error);
    stream.respond(OK, false);
    expect(() => write(stream, 65_536)).toThrow(H2Error);
    expect(() => stream.respond(OK, false)).toThrow(H2Error);
    stream.endData();
    expect(() => stream.endData()).toThrow(H2Error);
    expect(() => write(stream, 1)).toThrow(H2Error);
  });

  it('queues control frames without room, in order, and lets no data pass them', () => {
    const peer = clientPeer();
    const stream = peer.open();
    peer.transport.take();
    peer.transport.roomLeft = 20;
    peer.feed(frame(6, 0, { payload: Buffer.from('pingpong') }));
    stream.reset(8);
    const other = peer.open();
    expect(other.sendAllowance()).toBe(0);
    for (let i = 0; i < 100 && peer.log.length === 0; i += 1) {
      peer.transport.roomLeft = 7; // less than a frame header
      peer.session.onTransportWritable();
      peer.transport.roomLeft = i > 20 ? 1000 : 0;
      if (i > 20) peer.session.onTransportWritable();
    }
    expect(peer.sent()).toEqual(['PING 0 ack', 'RST_STREAM 1 8', 'HEADERS 3']);
    expect(peer.log).toEqual(['3 writable']);
  });
});

describe('credit', () => {
  it("returns the connection's on receipt and the stream's once the owner consumed, by half windows", () => {
    const peer = new FakePeer();
    peer.feed(headersFrame(1, POST));
    peer.feed(dataFrame(1, Buffer.alloc(16_000)));
    peer.feed(dataFrame(1, Buffer.alloc(16_000)));
    expect(peer.sent()).toEqual([]);
    peer.feed(dataFrame(1, Buffer.alloc(1_000)));
    expect(peer.sent()).toEqual(['WINDOW_UPDATE 0 33000']);
    const stream = peer.stream(1);
    stream.consume(32_000);
    peer.session.flush();
    expect(peer.sent()).toEqual([]);
    stream.consume(1000);
    stream.consume(1000); // more than it received: ignored
    peer.session.flush();
    expect(peer.sent()).toEqual(['WINDOW_UPDATE 1 33000']);
  });

  it('a stream that is not read stops itself and none of the others', () => {
    const peer = new FakePeer();
    peer.feed(Buffer.concat([headersFrame(1, POST), headersFrame(3, POST)]));
    for (let i = 0; i < 4; i += 1) peer.feed(dataFrame(1, Buffer.alloc(16_000)));
    for (let i = 0; i < 40; i += 1) {
      peer.feed(dataFrame(3, Buffer.alloc(16_000)));
      peer.stream(3).consume(16_000);
    }
    expect(peer.session.closed).toBe(false);
    peer.feed(dataFrame(1, Buffer.alloc(16_000)));
    expect(peer.log.at(-1)).toBe(`1 reset ${ErrorCode.FLOW_CONTROL_ERROR}`);
    expect(peer.session.closed).toBe(false);
  });

  it('returns padding by itself', () => {
    const peer = new FakePeer();
    peer.feed(headersFrame(1, POST));
    const payload = Buffer.alloc(256);
    payload[0] = 254;
    for (let i = 0; i < 129; i += 1) peer.feed(frame(0, 1, { flags: 8, payload }));
    expect(peer.sent()).toEqual(['WINDOW_UPDATE 0 32768', 'WINDOW_UPDATE 1 32895']);
  });

  it("returns the connection's for data on streams it has reset, and nothing twice", () => {
    const peer = new FakePeer();
    peer.feed(headersFrame(1, POST));
    peer.feed(dataFrame(1, Buffer.alloc(16_000)));
    peer.stream(1).reset(8);
    peer.stream(1).consume(16_000);
    peer.session.flush();
    expect(peer.sent()).toEqual(['RST_STREAM 1 8']);
    for (let i = 0; i < 2; i += 1) peer.feed(dataFrame(1, Buffer.alloc(16_000)));
    expect(peer.sent()).toEqual(['WINDOW_UPDATE 0 48000']);
  });

  it('a peer that overruns a stream window loses the stream, the connection window the connection', () => {
    const small = new FakePeer({ settings: { initialWindowSize: 10 } });
    small.feed(Buffer.concat([settingsAck, headersFrame(1, POST), dataFrame(1, Buffer.alloc(11))]));
    expect(small.sent()).toEqual([`RST_STREAM 1 ${ErrorCode.FLOW_CONTROL_ERROR}`]);
    const peer = new FakePeer({ settings: { initialWindowSize: 1_000_000, maxFrameSize: 1_048_576 } });
    peer.feed(headersFrame(1, POST));
    peer.feed(dataFrame(1, Buffer.alloc(65_536)));
    expect(peer.closedWith).toMatchObject({ code: 'FLOW_CONTROL_ERROR' });
  });

  it("grants the protocol's window until its smaller one is acknowledged", () => {
    const peer = new FakePeer({ settings: { initialWindowSize: 10 } });
    peer.feed(Buffer.concat([headersFrame(1, POST), dataFrame(1, Buffer.alloc(11))]));
    expect(peer.sent()).toEqual([]);
  });
});
