// The session as its owner and its peer see it, frame by frame against a scripted peer.

import { describe, expect, it } from 'vitest';
import { Slab } from '../io/slab.ts';
import { ErrorCode, H2Error } from './error.ts';
import type { Header } from './header.ts';
import type { H2Stream, StreamHandler } from './stream.ts';
import { FakePeer, type PeerOptions } from './testing/fake-peer.ts';
import {
  block,
  CONNECT,
  dataFrame,
  frame,
  GET,
  goawayFrame,
  headersFrame,
  POST,
  PREFACE,
  resetFrame,
  settingsAck,
  settingsFrame,
  windowUpdate,
} from './testing/frames.ts';

const OK: Header[] = [[':status', '200']];
const slab = new Slab(1 << 20);

function write(stream: H2Stream, length: number, endStream = false): void {
  slab.bytes.fill(0x78, 9, 9 + length);
  stream.writeData(slab, 9, length, endStream);
}

function client(options: PeerOptions = {}): FakePeer {
  return new FakePeer({ role: 'client', ...options });
}

function open(peer: FakePeer, headers: readonly Header[] = CONNECT, endStream = false): H2Stream {
  const id = 1 + 2 * peer.streams.size;
  const stream = peer.session.request(headers, endStream, peer.recorder(id));
  if (stream === undefined) throw new Error('No stream could be opened');
  peer.streams.set(stream.id, stream);
  peer.session.flush();
  return stream;
}

function streamOf(peer: FakePeer, id: number): H2Stream {
  const stream = peer.streams.get(id);
  if (stream === undefined) throw new Error(`No stream ${id}`);
  return stream;
}

describe('opening', () => {
  it('a client sends preface, SETTINGS and the connection window; a server the same without preface', () => {
    const settings = { initialWindowSize: 4_194_304, maxFrameSize: 1_048_576 };
    const asClient = new FakePeer({
      role: 'client',
      handshake: false,
      connectionWindow: 16_777_216,
      settings,
    });
    const bytes = asClient.transport.take();
    expect(bytes.subarray(0, 24)).toEqual(PREFACE);
    // ENABLE_PUSH 0 comes first, behind the preface and a frame header.
    expect([bytes.readUInt16BE(33), bytes.readUInt32BE(35)]).toEqual([2, 0]);
    expect(bytes.readUInt32BE(bytes.length - 4)).toBe(16_777_216 - 65_535);
    const asServer = new FakePeer({ handshake: false, connectionWindow: 65_535 });
    expect(asServer.sent()).toEqual(['SETTINGS 0']);
  });

  it('acknowledges SETTINGS and tells the owner what they hold', () => {
    const peer = new FakePeer({ role: 'client', handshake: false });
    peer.transport.take();
    peer.feed(
      settingsFrame([
        [3, 7],
        [4, 100],
        [5, 20_000],
        [0x99, 1],
      ]),
    );
    expect(peer.log).toEqual(['settings']);
    expect(peer.session.remote).toMatchObject({
      maxConcurrentStreams: 7,
      initialWindowSize: 100,
      maxFrameSize: 20_000,
    });
    expect(peer.sent()).toEqual(['SETTINGS 0 ack']);
  });

  it('refuses settings out of range before anything is sent', () => {
    expect(() => new FakePeer({ settings: { maxFrameSize: 100 } })).toThrow(
      /maxFrameSize "100" is not within/,
    );
  });

  it.each([
    { what: 'HTTP/1.1', bytes: Buffer.from('GET / HTTP/1.1\r\nhost: a\r\n\r\n') },
    { what: 'a frame other than SETTINGS first', bytes: Buffer.concat([PREFACE, headersFrame(1, GET)]) },
  ])('ends a connection that begins with $what', ({ bytes }) => {
    const peer = new FakePeer({ handshake: false });
    peer.transport.take();
    peer.feed(bytes);
    expect(peer.sent()).toEqual(['GOAWAY 0 0 1']);
    expect(peer.closedWith).toMatchObject({ code: 'PROTOCOL_ERROR' });
    expect(peer.transport.state).toBe('ended');
  });
});

describe('requests', () => {
  it('a server hears request, data, trailers and end, and answers with half-close in both directions', () => {
    const peer = new FakePeer();
    peer.feed(headersFrame(1, POST));
    peer.feed(dataFrame(1, 'hello '));
    peer.feed(dataFrame(1, 'world'));
    peer.feed(headersFrame(1, [['x-checksum', '7']], { endStream: true }));
    expect(peer.log).toEqual([
      '1 request :method=POST :scheme=http :path=/ :authority=a',
      '1 data hello world',
      '1 headers x-checksum=7 end',
      '1 end',
    ]);
    const stream = streamOf(peer, 1);
    stream.respond(OK, false);
    write(stream, 3);
    stream.trailers([['x-done', '1']]);
    peer.session.flush();
    expect(peer.sent()).toEqual(['HEADERS 1', 'DATA 1 3', 'HEADERS 1 end']);
    expect(peer.session.openStreams).toBe(0);
  });

  it('a client hears informational and final headers, data and end, and may send on after the peer ended', () => {
    const peer = client();
    const stream = open(peer);
    peer.feed(headersFrame(1, [[':status', '103']]));
    peer.feed(headersFrame(1, OK));
    peer.feed(dataFrame(1, 'x', { endStream: true }));
    expect(peer.log).toEqual(['1 headers :status=103', '1 headers :status=200', '1 data x', '1 end']);
    write(stream, 5);
    stream.endData();
    peer.session.flush();
    expect(peer.sent()).toEqual(['HEADERS 1', 'DATA 1 5', 'DATA 1 0 end']);
    expect(peer.session.openStreams).toBe(0);
  });

  it('a response without body ends after its headers', () => {
    const peer = client();
    open(peer);
    peer.feed(headersFrame(1, [[':status', '401']], { endStream: true }));
    expect(peer.log).toEqual(['1 headers :status=401 end', '1 end']);
  });

  it('a request its owner does not take is refused; one answered in full is cut with NO_ERROR', () => {
    const refusing = new FakePeer({ onStream: () => undefined });
    refusing.feed(headersFrame(1, POST));
    expect(refusing.sent()).toEqual([`RST_STREAM 1 ${ErrorCode.REFUSED_STREAM}`]);
    const denying = new FakePeer({
      onStream: (stream) => {
        stream.respond([[':status', '401']], true);
        return undefined;
      },
    });
    denying.feed(headersFrame(1, CONNECT));
    denying.feed(headersFrame(3, GET, { endStream: true }));
    expect(denying.sent()).toEqual(['HEADERS 1 end', 'RST_STREAM 1 0', 'HEADERS 3 end']);
    expect(denying.session.openStreams).toBe(0);
  });

  it('opens no more streams than the peer allows, and more once one is done', () => {
    const peer = client();
    peer.feed(settingsFrame([[3, 1]]));
    const first = open(peer);
    expect(peer.session.canOpen).toBe(false);
    expect(peer.session.request(CONNECT, false, peer.recorder(3))).toBeUndefined();
    first.reset(ErrorCode.CANCEL);
    expect(peer.session.canOpen).toBe(true);
  });

  it('refuses streams above its own limit without harm to the others', () => {
    const peer = new FakePeer({ settings: { maxConcurrentStreams: 1 } });
    peer.feed(
      Buffer.concat([
        headersFrame(1, POST),
        headersFrame(3, POST),
        dataFrame(3, 'lost'),
        dataFrame(1, 'kept'),
      ]),
    );
    expect(peer.log.at(-1)).toBe('1 data kept');
    expect(peer.sent()).toEqual([`RST_STREAM 3 ${ErrorCode.REFUSED_STREAM}`]);
  });

  it("splits a header list above the peer's frame size into CONTINUATION frames", () => {
    const peer = client();
    open(peer, [...GET, ['x-long', '\u00ff'.repeat(40_000)]], true);
    const frames = peer.frames();
    expect(frames.map((f) => [f.type, f.flags, f.payload.length > 16_384])).toEqual([
      [1, 1, false],
      [9, 0, false],
      [9, 4, false],
    ]);
    const server = new FakePeer({ settings: { maxHeaderListSize: 65_536 } });
    for (const f of frames) server.feed(frame(f.type, f.streamId, f));
    expect(server.log[0]).toContain('\u00ff'.repeat(40_000));
  });

  it('answers a header list above its limit with 431 and keeps the HPACK state', () => {
    const peer = new FakePeer({ settings: { maxHeaderListSize: 300 } });
    const big = block([...GET, ['x-big', 'b'.repeat(400)]]);
    const indexed = Buffer.from('4001780131', 'hex'); // x: 1, into the table
    peer.feed(frame(1, 1, { flags: 5, payload: Buffer.concat([big, indexed]) }));
    expect(peer.sent()).toEqual(['HEADERS 1 end']);
    peer.feed(frame(1, 3, { flags: 5, payload: Buffer.concat([block(GET), Buffer.of(0xbe)]) }));
    expect(peer.log[0]).toMatch(/^3 request .* x=1 end$/);
  });
});

describe('resets', () => {
  it('tells the owner once, and nothing after that', () => {
    const peer = new FakePeer();
    peer.feed(headersFrame(1, POST));
    peer.feed(Buffer.concat([resetFrame(1, 8), resetFrame(1, 8)]));
    expect(peer.log.slice(1)).toEqual(['1 reset 8']);
    const stream = streamOf(peer, 1);
    stream.respond(OK, false);
    stream.consume(10);
    stream.endData();
    stream.reset(8);
    expect(stream.sendAllowance()).toBe(0);
    peer.session.flush();
    expect(peer.sent()).toEqual([]);
  });

  it('an own reset silences the stream, and frames still in flight are dropped', () => {
    const peer = new FakePeer();
    peer.feed(headersFrame(1, POST));
    streamOf(peer, 1).reset(ErrorCode.CANCEL);
    peer.feed(
      Buffer.concat([
        dataFrame(1, 'late'),
        headersFrame(1, [['x', 'y']], { endStream: true }),
        windowUpdate(1, 5),
        resetFrame(1),
      ]),
    );
    expect(peer.log).toHaveLength(1);
    expect(peer.sent()).toEqual(['RST_STREAM 1 8']);
    expect(peer.session.closed).toBe(false);
  });

  it('a reset within onData ends the delivery of the same frame', () => {
    let calls = 0;
    const peer = new FakePeer({
      onStream: (stream): StreamHandler => ({
        onData: () => {
          calls += 1;
          stream.reset(ErrorCode.CANCEL);
        },
        onEnd: () => calls++,
        onReset: () => calls++,
        onWritable: () => calls++,
      }),
    });
    peer.feed(Buffer.concat([headersFrame(1, POST), dataFrame(1, 'abcdef', { endStream: true })]), [40, 10]);
    peer.feed(headersFrame(3, POST));
    expect(calls).toBe(1);
    expect(peer.session.openStreams).toBe(1);
  });

  it.each([
    { what: 'upper case names', fields: [...GET, ['X-A', '1']] },
    { what: 'a connection field', fields: [...GET, ['connection', 'close']] },
    { what: 'te other than trailers', fields: [...GET, ['te', 'gzip']] },
    { what: 'a line break in a value', fields: [...GET, ['x', 'a\r\nb']] },
    { what: 'white space around a value', fields: [...GET, ['x', ' a']] },
    { what: 'a pseudo header twice', fields: [...GET, [':path', '/b']] },
    { what: 'a pseudo header after others', fields: [['x', '1'], ...GET] },
    { what: 'an unknown pseudo header', fields: [...GET, [':foo', '1']] },
    {
      what: 'no :path',
      fields: [
        [':method', 'GET'],
        [':scheme', 'http'],
      ],
    },
    {
      what: 'an empty :path',
      fields: [
        [':method', 'GET'],
        [':scheme', 'http'],
        [':path', ''],
      ],
    },
    { what: 'CONNECT with :path', fields: [...CONNECT, [':path', '/']] },
    { what: 'CONNECT with :scheme', fields: [...CONNECT, [':scheme', 'http']] },
    { what: 'CONNECT without :authority', fields: [[':method', 'CONNECT']] },
    {
      what: ':protocol that was not enabled',
      fields: [[':method', 'CONNECT'], [':protocol', 'websocket'], ...GET.slice(1)],
    },
    { what: 'a host that differs from :authority', fields: [...GET, ['host', 'other']] },
    { what: 'two content-lengths', fields: [...GET, ['content-length', '1'], ['content-length', '2']] },
  ] as { what: string; fields: Header[] }[])(
    'ends only the stream for a request with $what',
    ({ fields }) => {
      const peer = new FakePeer();
      peer.feed(headersFrame(1, fields));
      expect(peer.log).toEqual([]);
      expect(peer.sent()).toEqual(['RST_STREAM 1 1']);
      peer.feed(headersFrame(3, GET, { endStream: true }));
      expect(peer.log).toHaveLength(2);
    },
  );

  it('takes extended CONNECT where it is enabled', () => {
    const peer = new FakePeer({ settings: { enableConnectProtocol: true } });
    peer.feed(headersFrame(1, [[':method', 'CONNECT'], [':protocol', 'websocket'], ...GET.slice(1)]));
    expect(peer.log).toHaveLength(1);
  });

  it.each([
    { what: 'more data than content-length', frames: [dataFrame(1, '12345')] },
    { what: 'less data than content-length', frames: [dataFrame(1, '12', { endStream: true })] },
    { what: 'trailers before all data', frames: [headersFrame(1, [['a', 'b']], { endStream: true })] },
    { what: 'trailers without END_STREAM', frames: [dataFrame(1, '123'), headersFrame(1, [['a', 'b']])] },
    {
      what: 'a pseudo header in trailers',
      frames: [dataFrame(1, '123'), headersFrame(1, [[':path', '/']], { endStream: true })],
    },
  ])('ends only the stream for $what', ({ frames }) => {
    const peer = new FakePeer();
    peer.feed(headersFrame(1, [...POST, ['content-length', '3']]));
    peer.feed(Buffer.concat(frames));
    expect(peer.log.at(-1)).toBe('1 reset 1');
    expect(peer.sent()).toEqual(['RST_STREAM 1 1']);
  });

  it.each([
    { what: 'data before headers', frames: [dataFrame(1, 'x')] },
    { what: 'no :status', frames: [headersFrame(1, [['x', 'y']])] },
    { what: ':status 101', frames: [headersFrame(1, [[':status', '101']])] },
    {
      what: 'an informational response that ends the stream',
      frames: [headersFrame(1, [[':status', '100']], { endStream: true })],
    },
    { what: 'a second final response', frames: [headersFrame(1, OK), headersFrame(1, OK)] },
  ])('a client ends only the stream for a response with $what', ({ frames }) => {
    const peer = client();
    open(peer);
    peer.feed(Buffer.concat(frames));
    expect(peer.log.at(-1)).toBe('1 reset 1');
    expect(peer.session.closed).toBe(false);
  });

  it('content-length does not count for HEAD, CONNECT and 304', () => {
    const peer = client();
    open(peer, [[':method', 'HEAD'], ...GET.slice(1)], true);
    open(peer, CONNECT);
    open(peer, GET, true);
    const length: Header = ['content-length', '10'];
    peer.feed(headersFrame(1, [...OK, length], { endStream: true }));
    peer.feed(headersFrame(3, [...OK, length]));
    peer.feed(dataFrame(3, 'x', { endStream: true }));
    peer.feed(headersFrame(5, [[':status', '304'], length], { endStream: true }));
    expect(peer.log.filter((line) => line.includes('reset'))).toEqual([]);
  });
});

describe('sending', () => {
  it('allows no more than stream window, connection window, frame size and room', () => {
    const peer = client();
    peer.feed(settingsFrame([[4, 20_000]]));
    const stream = open(peer);
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
    const peer = client();
    const stream = open(peer);
    write(stream, 10_000);
    peer.feed(settingsFrame([[4, 4000]]));
    expect(stream.sendAllowance()).toBe(0);
    peer.feed(windowUpdate(1, 6000));
    expect(stream.sendAllowance()).toBe(0);
    peer.feed(windowUpdate(1, 1));
    expect(stream.sendAllowance()).toBe(1);
  });

  it('wakes a stream only when its own window and the connection are open', () => {
    const peer = client();
    const stream = open(peer);
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
    const peer = client();
    const first = open(peer);
    const second = open(peer);
    peer.transport.roomLeft = 0;
    expect(first.sendAllowance()).toBe(0);
    expect(second.sendAllowance()).toBe(0);
    peer.feed(resetFrame(1));
    peer.transport.roomLeft = 10_000;
    peer.session.onTransportWritable();
    expect(peer.log).toEqual(['1 reset 8', '3 writable']);
  });

  it('flushes a full transport before it makes a stream wait', () => {
    const peer = client();
    const stream = open(peer);
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
    const stream = streamOf(peer, 1);
    expect(() => write(stream, 1)).toThrow(H2Error);
    stream.respond(OK, false);
    expect(() => write(stream, 65_536)).toThrow(H2Error);
    expect(() => stream.respond(OK, false)).toThrow(H2Error);
    stream.endData();
    expect(() => stream.endData()).toThrow(H2Error);
    expect(() => write(stream, 1)).toThrow(H2Error);
  });

  it('queues control frames without room, in order, and lets no data pass them', () => {
    const peer = client();
    const stream = open(peer);
    peer.transport.take();
    peer.transport.roomLeft = 20;
    peer.feed(frame(6, 0, { payload: Buffer.from('pingpong') }));
    stream.reset(8);
    const other = open(peer);
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
    const stream = streamOf(peer, 1);
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
      streamOf(peer, 3).consume(16_000);
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
    streamOf(peer, 1).reset(8);
    streamOf(peer, 1).consume(16_000);
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

describe('the extension frame', () => {
  it('is handed on if both ends know it, and ignored otherwise or when long', () => {
    const knows = client({ extension: 0xf7 });
    open(knows);
    knows.feed(frame(0xf7, 1, { payload: Buffer.from('policy "x"') }));
    knows.feed(frame(0xf7, 1, { payload: Buffer.alloc(1025) }));
    knows.feed(frame(0xf6, 1, { payload: Buffer.from('other') }));
    expect(knows.log).toEqual(['extension 1 policy "x"']);
    const other = client();
    other.feed(frame(0xf7, 1, { payload: Buffer.from('policy "x"') }));
    expect(other.log).toEqual([]);
  });

  it('is sent only where the option is set', () => {
    const knows = client({ extension: 0xf7 });
    knows.session.sendExtension(1, Buffer.from('why'));
    knows.session.flush();
    expect(knows.sent()).toEqual(['type 247 1']);
    const other = client();
    other.session.sendExtension(1, Buffer.from('why'));
    expect(other.transport.take()).toHaveLength(0);
  });
});

describe('ping, GOAWAY and the end', () => {
  it('answers pings and reports answers to its own', () => {
    const peer = client();
    peer.session.ping(Buffer.from('12345678'));
    peer.session.flush();
    expect(peer.sent()).toEqual(['PING 0']);
    peer.feed(frame(6, 0, { payload: Buffer.from('abcdefgh') }));
    peer.feed(frame(6, 0, { flags: 1, payload: Buffer.from('12345678') }));
    expect(peer.sent()).toEqual(['PING 0 ack']);
    expect(peer.log).toEqual(['pong 3132333435363738']);
  });

  it('a GOAWAY of the peer excludes later streams, which may be repeated elsewhere', () => {
    const peer = client();
    open(peer);
    open(peer);
    peer.feed(goawayFrame(1, 0, 'bye\n'));
    expect(peer.log).toEqual(['goaway 1 0 bye?', `3 reset ${ErrorCode.REFUSED_STREAM}`]);
    expect(peer.session.draining).toBe(true);
    expect(peer.session.canOpen).toBe(false);
    peer.feed(headersFrame(1, OK, { endStream: true }));
    expect(peer.log.at(-1)).toBe('1 end');
  });

  it('drains gracefully: first GOAWAY still takes streams, the second names the last one', () => {
    const peer = new FakePeer();
    peer.feed(headersFrame(1, POST));
    peer.session.goaway(0);
    peer.feed(headersFrame(3, POST));
    peer.session.goaway(0);
    peer.feed(Buffer.concat([headersFrame(5, POST), dataFrame(5, 'ignored'), dataFrame(3, 'x')]));
    expect(peer.log.map((line) => line.slice(0, 9))).toEqual(['1 request', '3 request', '3 data x']);
    expect(peer.sent()).toEqual(['GOAWAY 0 2147483647 0', 'GOAWAY 0 3 0']);
    expect(peer.session.openStreams).toBe(2);
  });

  it('close() ends streams, then itself, and is silent afterwards', () => {
    const peer = new FakePeer();
    peer.feed(headersFrame(1, POST));
    peer.session.close(ErrorCode.NO_ERROR);
    peer.session.close(ErrorCode.INTERNAL_ERROR);
    peer.session.transportClosed();
    peer.feed(headersFrame(3, POST));
    streamOf(peer, 1).respond(OK, true);
    expect(peer.log.slice(1)).toEqual([`1 reset ${ErrorCode.CONNECT_ERROR}`]);
    expect(peer.sent()).toEqual(['GOAWAY 0 1 0']);
    expect(peer.closedWith).toBeUndefined();
    expect(peer.transport.state).toBe('ended');
  });

  it('a lost connection is an error only if streams were open', () => {
    const idle = client();
    idle.session.transportClosed();
    expect(idle.closedWith).toBeUndefined();
    const busy = client();
    open(busy);
    busy.session.transportClosed();
    expect(busy.log).toEqual([`1 reset ${ErrorCode.CONNECT_ERROR}`]);
    expect(busy.closedWith).toMatchObject({ code: 'CONNECT_ERROR' });
  });

  it('close() from within a callback stops the frames that follow in the same batch', () => {
    const peer: FakePeer = new FakePeer({
      onStream: () => {
        peer.session.close(ErrorCode.NO_ERROR);
        return undefined;
      },
    });
    peer.feed(Buffer.concat([headersFrame(1, POST), headersFrame(3, POST)]));
    expect(peer.log).toHaveLength(1);
    expect(peer.sent()).toEqual(['GOAWAY 0 1 0']);
  });

  it('an exception in a callback ends the session and reaches the caller', () => {
    const peer = new FakePeer({
      onStream: () => {
        throw new Error('bug');
      },
    });
    expect(() => peer.feed(headersFrame(1, POST))).toThrow('bug');
    expect(peer.closedWith).toMatchObject({ code: 'INTERNAL_ERROR' });
  });

  it('flushes once a batch', () => {
    const peer = new FakePeer({ onStream: (stream) => (stream.respond(OK, true), undefined) });
    const before = peer.transport.flushes;
    peer.feed(
      Buffer.concat([headersFrame(1, GET, { endStream: true }), headersFrame(3, GET, { endStream: true })]),
    );
    expect(peer.transport.flushes - before).toBe(1);
  });
});

describe('connection errors', () => {
  const even = headersFrame(2, GET);
  it.each([
    { what: 'DATA on stream 0', bytes: dataFrame(0, 'x'), code: 'PROTOCOL_ERROR' },
    { what: 'DATA on an idle stream', bytes: dataFrame(1, 'x'), code: 'PROTOCOL_ERROR' },
    { what: 'an even stream id', bytes: even, code: 'PROTOCOL_ERROR' },
    {
      what: 'a stream id that goes back',
      bytes: Buffer.concat([headersFrame(5, POST), headersFrame(3, POST)]),
      code: 'PROTOCOL_ERROR',
    },
    { what: 'PUSH_PROMISE', bytes: frame(5, 1, { payload: Buffer.alloc(4) }), code: 'PROTOCOL_ERROR' },
    { what: 'CONTINUATION without HEADERS', bytes: frame(9, 1, { flags: 4 }), code: 'PROTOCOL_ERROR' },
    {
      what: 'a frame within a header block',
      bytes: Buffer.concat([frame(1, 1), frame(6, 0, { payload: Buffer.alloc(8) })]),
      code: 'PROTOCOL_ERROR',
    },
    { what: 'RST_STREAM of an idle stream', bytes: resetFrame(7), code: 'PROTOCOL_ERROR' },
    { what: 'WINDOW_UPDATE of an idle stream', bytes: windowUpdate(7, 1), code: 'PROTOCOL_ERROR' },
    { what: 'WINDOW_UPDATE of 0', bytes: windowUpdate(0, 0), code: 'PROTOCOL_ERROR' },
    {
      what: 'a connection window above 2^31-1',
      bytes: windowUpdate(0, 0x7fffffff),
      code: 'FLOW_CONTROL_ERROR',
    },
    {
      what: 'INITIAL_WINDOW_SIZE above 2^31-1',
      bytes: settingsFrame([[4, 0x80000000]]),
      code: 'FLOW_CONTROL_ERROR',
    },
    { what: 'MAX_FRAME_SIZE out of range', bytes: settingsFrame([[5, 100]]), code: 'PROTOCOL_ERROR' },
    {
      what: 'SETTINGS of 5 octets',
      bytes: frame(4, 0, { payload: Buffer.alloc(5) }),
      code: 'FRAME_SIZE_ERROR',
    },
    { what: 'SETTINGS on a stream', bytes: frame(4, 1), code: 'PROTOCOL_ERROR' },
    { what: 'PING of 7 octets', bytes: frame(6, 0, { payload: Buffer.alloc(7) }), code: 'FRAME_SIZE_ERROR' },
    { what: 'a frame above the limit', bytes: frame(0, 1, { length: 16_385 }), code: 'FRAME_SIZE_ERROR' },
    {
      what: 'padding longer than DATA',
      bytes: Buffer.concat([headersFrame(1, POST), frame(0, 1, { flags: 8, payload: Buffer.of(3, 0, 0) })]),
      code: 'PROTOCOL_ERROR',
    },
    {
      what: 'padding longer than HEADERS',
      bytes: frame(1, 1, { flags: 12, payload: Buffer.of(1) }),
      code: 'PROTOCOL_ERROR',
    },
    {
      what: 'a broken header block',
      bytes: frame(1, 1, { flags: 4, payload: Buffer.of(0x80) }),
      code: 'COMPRESSION_ERROR',
    },
  ])('$what', ({ bytes, code }) => {
    const peer = new FakePeer();
    peer.feed(bytes);
    expect(peer.closedWith).toMatchObject({ code });
    expect(peer.sent().at(-1)).toMatch(
      new RegExp(`^GOAWAY 0 \\d+ ${ErrorCode[code as keyof typeof ErrorCode]}$`),
    );
    expect(peer.transport.state).toBe('ended');
  });

  it('a stream window above 2^31-1 costs only the stream', () => {
    const peer = new FakePeer();
    peer.feed(Buffer.concat([headersFrame(1, POST), windowUpdate(1, 0x7fffffff)]));
    expect(peer.sent()).toEqual([`RST_STREAM 1 ${ErrorCode.FLOW_CONTROL_ERROR}`]);
  });
});
