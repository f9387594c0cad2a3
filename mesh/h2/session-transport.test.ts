// The session over a transport that fills up, makes room in flush(), or breaks in the middle of a call.

import { describe, expect, it } from 'vitest';
import { Slab } from '../io/slab.ts';
import { ErrorCode } from './error.ts';
import type { H2Stream } from './stream.ts';
import { FakePeer } from './testing/fake-peer.ts';
import {
  CONNECT,
  frame,
  GET,
  headersFrame,
  POST,
  resetFrame,
  settingsFrame,
  windowUpdate,
} from './testing/frames.ts';

const ping = frame(6, 0, { payload: Buffer.from('pingpong') });
const slab = new Slab(70_000);

/** From now on flush() empties the transport, as a kernel with room does, and gives `room` again. */
function roomByFlush(peer: FakePeer, room: number): void {
  const { transport } = peer;
  const flush = transport.flush.bind(transport);
  transport.flush = () => {
    flush();
    transport.roomLeft = room;
  };
}

/** The next write loses the connection, as a failing TLS write does. */
function breakOnWrite(peer: FakePeer): void {
  peer.transport.write = () => peer.session.transportClosed();
}

describe('a transport with little room', () => {
  it('gets queued answers with the flush that makes room, without a writable event', () => {
    const peer = new FakePeer();
    roomByFlush(peer, 40);
    peer.transport.roomLeft = 20;
    peer.feed(Buffer.concat([ping, ping, ping, ping, ping]));
    expect(peer.sent()).toEqual(new Array(5).fill('PING 0 ack'));
  });

  it('gets queued answers in order even if it takes only some octets at a time', () => {
    const peer = new FakePeer();
    peer.transport.roomLeft = 0;
    peer.feed(Buffer.concat([headersFrame(1, GET, { endStream: true }), ping, settingsFrame()]));
    peer.streams.get(1)?.respond([[':status', '200']], true);
    const bytes: Buffer[] = [];
    for (let i = 0; i < 20; i += 1) {
      peer.transport.roomLeft = 3;
      peer.session.onTransportWritable();
      bytes.push(peer.transport.take());
    }
    expect(bytes[0]).toHaveLength(3);
    peer.transport.roomLeft = 1000;
    peer.session.onTransportWritable();
    const whole = Buffer.concat([...bytes, peer.transport.take()]);
    expect([whole[3], whole[17 + 3], whole[17 + 9 + 3]]).toEqual([6, 4, 1]);
  });

  it('lets a stream send on after a flush made room for it', () => {
    const peer = new FakePeer({ role: 'client' });
    peer.feed(Buffer.concat([settingsFrame([[4, 1 << 20]]), windowUpdate(0, 1 << 20)]));
    const stream = peer.session.request(CONNECT, false, peer.recorder(1)) as H2Stream;
    roomByFlush(peer, 1000);
    peer.transport.roomLeft = 500;
    let sent = 0;
    for (let i = 0; i < 100; i += 1) {
      const allowed = stream.sendAllowance();
      expect(allowed).toBeGreaterThan(0);
      stream.writeData(slab, 9, allowed, false);
      sent += allowed;
    }
    expect(sent).toBeGreaterThan(80_000);
  });
});

describe('a connection lost in the middle of a call', () => {
  it('request() opens nothing and calls nobody for it', () => {
    const peer = new FakePeer({ role: 'client' });
    const first = peer.session.request(CONNECT, false, peer.recorder(1));
    breakOnWrite(peer);
    expect(peer.session.request(CONNECT, false, peer.recorder(3))).toBeUndefined();
    expect(first).toBeDefined();
    expect(peer.log).toEqual([`1 reset ${ErrorCode.CONNECT_ERROR}`]);
    expect(peer.session.openStreams).toBe(0);
    expect(peer.closedWith).toMatchObject({ code: 'CONNECT_ERROR' });
  });

  it('writeData() and endData() tell the owner once', () => {
    const peer = new FakePeer({ role: 'client' });
    const stream = peer.session.request(CONNECT, false, peer.recorder(1)) as H2Stream;
    breakOnWrite(peer);
    stream.writeData(slab, 9, 10, true);
    stream.endData();
    expect(peer.log).toEqual([`1 reset ${ErrorCode.CONNECT_ERROR}`]);
  });

  it("onStream's handler is told although it was returned only afterwards", () => {
    const peer: FakePeer = new FakePeer({
      onStream: (stream) => {
        breakOnWrite(peer);
        stream.respond([[':status', '200']], false);
        return peer.recorder(stream.id);
      },
    });
    peer.feed(Buffer.concat([headersFrame(1, POST), headersFrame(3, POST)]));
    expect(peer.log.slice(1)).toEqual([`1 reset ${ErrorCode.CONNECT_ERROR}`]);
  });

  it('a flush within sendAllowance() leaves 0 and no trace of the stream', () => {
    const peer = new FakePeer({ role: 'client' });
    const streams = [1, 3].map((id) => peer.session.request(CONNECT, false, peer.recorder(id)) as H2Stream);
    peer.transport.roomLeft = 0;
    peer.transport.flush = () => peer.session.transportClosed();
    expect(streams[0]?.sendAllowance()).toBe(0);
    expect(streams[1]?.sendAllowance()).toBe(0);
    peer.session.onTransportWritable();
    expect(peer.log).toEqual([`1 reset ${ErrorCode.CONNECT_ERROR}`, `3 reset ${ErrorCode.CONNECT_ERROR}`]);
  });

  it('a callback of one stream may reset another, which is then not told', () => {
    const peer = new FakePeer({ role: 'client' });
    const streams: H2Stream[] = [];
    for (const id of [1, 3]) {
      const handler = {
        ...peer.recorder(id),
        onReset: () => (peer.log.push(`${id} reset`), streams[1]?.reset(8)),
      };
      streams.push(peer.session.request(CONNECT, false, handler) as H2Stream);
    }
    peer.session.transportClosed();
    expect(peer.log).toEqual(['1 reset']);
  });
});

describe('an idle connection', () => {
  it('may ping every ten seconds for hours on end', () => {
    let nowMs = 0;
    const peer = new FakePeer({ now: () => nowMs });
    for (let i = 0; i < 5000; i += 1) {
      nowMs += 10_000;
      peer.feed(ping);
      peer.transport.take();
    }
    expect(peer.closedWith).toBe('open');
  });

  it('forgets nothing a peer could miss: RST_STREAM for a stream long gone is ignored', () => {
    const peer = new FakePeer({
      onStream: (stream) => (stream.respond([[':status', '200']], true), undefined),
    });
    for (let i = 0; i < 600; i += 1) peer.feed(headersFrame(1 + 2 * i, GET, { endStream: true }));
    peer.feed(Buffer.concat([resetFrame(1), windowUpdate(3, 10), resetFrame(1199)]));
    expect(peer.closedWith).toBe('open');
  });
});
