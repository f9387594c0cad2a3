// A session's life as its owner and its peer see it, frame by frame against a scripted peer.

import { describe, expect, it } from 'vitest';
import { ErrorCode } from './error.ts';
import type { Header } from './header.ts';
import { clientPeer, FakePeer, write } from './testing/fake-peer.ts';
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
  settingsFrame,
  windowUpdate,
} from './testing/frames.ts';

const OK: Header[] = [[':status', '200']];

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
    const stream = peer.stream(1);
    stream.respond(OK, false);
    write(stream, 3);
    stream.trailers([['x-done', '1']]);
    peer.session.flush();
    expect(peer.sent()).toEqual(['HEADERS 1', 'DATA 1 3', 'HEADERS 1 end']);
    expect(peer.session.openStreams).toBe(0);
  });

  it('a client hears informational and final headers, data and end, and may send on after the peer ended', () => {
    const peer = clientPeer();
    const stream = peer.open();
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
    const peer = clientPeer();
    peer.open();
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
    const peer = clientPeer();
    peer.feed(settingsFrame([[3, 1]]));
    const first = peer.open();
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
    const peer = clientPeer();
    peer.open([...GET, ['x-long', '\u00ff'.repeat(40_000)]], true);
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

describe('the extension frame', () => {
  it('is handed on if both ends know it, and ignored otherwise or when long', () => {
    const knows = clientPeer({ extension: 0xf7 });
    knows.open();
    knows.feed(frame(0xf7, 1, { payload: Buffer.from('policy "x"') }));
    knows.feed(frame(0xf7, 1, { payload: Buffer.alloc(1025) }));
    knows.feed(frame(0xf6, 1, { payload: Buffer.from('other') }));
    expect(knows.log).toEqual(['extension 1 policy "x"']);
    const other = clientPeer();
    other.feed(frame(0xf7, 1, { payload: Buffer.from('policy "x"') }));
    expect(other.log).toEqual([]);
  });

  it('is sent only where the option is set', () => {
    const knows = clientPeer({ extension: 0xf7 });
    knows.session.sendExtension(1, Buffer.from('why'));
    knows.session.flush();
    expect(knows.sent()).toEqual(['type 247 1']);
    const other = clientPeer();
    other.session.sendExtension(1, Buffer.from('why'));
    expect(other.transport.take()).toHaveLength(0);
  });
});

describe('ping, GOAWAY and the end', () => {
  it('answers pings and reports answers to its own', () => {
    const peer = clientPeer();
    peer.session.ping(Buffer.from('12345678'));
    peer.session.flush();
    expect(peer.sent()).toEqual(['PING 0']);
    peer.feed(frame(6, 0, { payload: Buffer.from('abcdefgh') }));
    peer.feed(frame(6, 0, { flags: 1, payload: Buffer.from('12345678') }));
    expect(peer.sent()).toEqual(['PING 0 ack']);
    expect(peer.log).toEqual(['pong 3132333435363738']);
  });

  it('a GOAWAY of the peer excludes later streams, which may be repeated elsewhere', () => {
    const peer = clientPeer();
    peer.open();
    peer.open();
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
    peer.stream(1).respond(OK, true);
    expect(peer.log.slice(1)).toEqual([`1 reset ${ErrorCode.CONNECT_ERROR}`]);
    expect(peer.sent()).toEqual(['GOAWAY 0 1 0']);
    expect(peer.closedWith).toBeUndefined();
    expect(peer.transport.state).toBe('ended');
  });

  it('a lost connection is an error only if streams were open', () => {
    const idle = clientPeer();
    idle.session.transportClosed();
    expect(idle.closedWith).toBeUndefined();
    const busy = clientPeer();
    busy.open();
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
