// Mistakes on one stream end that stream, tell its owner once, and leave the connection alone.

import { describe, expect, it } from 'vitest';
import { ErrorCode } from './error.ts';
import type { Header } from './header.ts';
import type { StreamHandler } from './stream.ts';
import { clientPeer, FakePeer } from './testing/fake-peer.ts';
import { CONNECT, dataFrame, GET, headersFrame, POST, resetFrame, windowUpdate } from './testing/frames.ts';

const OK: Header[] = [[':status', '200']];

describe('resets', () => {
  it('tells the owner once, and nothing after that', () => {
    const peer = new FakePeer();
    peer.feed(headersFrame(1, POST));
    peer.feed(Buffer.concat([resetFrame(1, 8), resetFrame(1, 8)]));
    expect(peer.log.slice(1)).toEqual(['1 reset 8']);
    const stream = peer.stream(1);
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
    peer.stream(1).reset(ErrorCode.CANCEL);
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
    const peer = clientPeer();
    peer.open();
    peer.feed(Buffer.concat(frames));
    expect(peer.log.at(-1)).toBe('1 reset 1');
    expect(peer.session.closed).toBe(false);
  });

  it('content-length does not count for HEAD, CONNECT and 304', () => {
    const peer = clientPeer();
    peer.open([[':method', 'HEAD'], ...GET.slice(1)], true);
    peer.open(CONNECT);
    peer.open(GET, true);
    const length: Header = ['content-length', '10'];
    peer.feed(headersFrame(1, [...OK, length], { endStream: true }));
    peer.feed(headersFrame(3, [...OK, length]));
    peer.feed(dataFrame(3, 'x', { endStream: true }));
    peer.feed(headersFrame(5, [[':status', '304'], length], { endStream: true }));
    expect(peer.log.filter((line) => line.includes('reset'))).toEqual([]);
  });
});
