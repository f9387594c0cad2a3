// The client end against a server of raw octets; real sockets and other implementations are in interop.test.ts.

import { beforeEach, describe, expect, it } from 'vitest';
import { ErrorCode } from '../h2/error.ts';
import type { Header } from '../h2/header.ts';
import { ClientWorld } from './testing/client-world.ts';
import type { RecordedStream } from './testing/recorded-stream.ts';

let world: ClientWorld;

beforeEach(() => {
  world = new ClientWorld();
});

/** A GET whose head was sent. */
function get(): RecordedStream {
  const stream = world.request('GET');
  world.transport.take();
  return stream;
}

describe('a request', () => {
  it('is sent with Host first, its cookies in one field, and no fields of another connection', () => {
    const fields: Header[] = [
      ['accept', '*/*'],
      ['cookie', 'a=1'],
      ['host', 'other'],
      ['connection', 'x'],
      ['cookie', 'b=2'],
      ['te', 'trailers'],
    ];
    world.request('GET', { fields });
    expect(world.transport.take()).toBe(
      'GET /x HTTP/1.1\r\nhost: a\r\naccept: */*\r\nte: trailers\r\ncookie: a=1; b=2\r\nconnection: te\r\n\r\n',
    );
  });

  it.each([
    ['GET', true, [], ''],
    ['POST', true, [], 'content-length: 0\r\n'],
    ['POST', false, [], 'transfer-encoding: chunked\r\n'],
    ['POST', false, [['content-length', '3']], 'content-length: 3\r\n'],
  ] as const)('of %s with its end %s says how its body is framed', (method, endStream, fields, framing) => {
    world.request(method, { fields, endStream });
    expect(world.transport.take()).toBe(`${method} /x HTTP/1.1\r\nhost: a\r\n${framing}\r\n`);
  });

  it('goes with body and trailers', () => {
    const request = world.request('POST', { endStream: false });
    expect(request.stream.sendAllowance()).toBeGreaterThan(5);
    request.write('hello');
    request.stream.trailers([['x', 'y']]);
    expect(world.transport.take()).toContain('\r\n\r\n5\r\nhello\r\n0\r\nx: y\r\n\r\n');
  });

  it.each([
    ['a path with a blank', [':path', '/a HTTP/1.1\r\nx: y']],
    ['a path with a blank only', [':path', '/a b']],
    ['a method that is none', [':method', 'GET /']],
    ['CONNECT', [':method', 'CONNECT']],
    ['an authority with a line break', [':authority', 'a\r\nb: c']],
  ] as const)('with %s can not be made, and disturbs nothing', (_, wrong) => {
    const list: Header[] = [
      [':method', 'GET'],
      [':scheme', 'http'],
      [':authority', 'a'],
      [':path', '/'],
    ];
    const bad = list.map((header) => (header[0] === wrong[0] ? wrong : header));
    const request = () =>
      world.connection.request(
        bad,
        true,
        new (class extends Object {
          onData() {}
          onEnd() {}
          onReset() {}
          onWritable() {}
        })(),
      );
    expect(request).toThrow(/HTTP\/1.1 head/);
    expect([world.connection.canOpen, world.transport.written]).toEqual([true, '']);
  });

  it('is one at a time', () => {
    const first = get();
    expect(world.connection.canOpen).toBe(false);
    expect(world.connection.request([], true, first)).toBeUndefined();
  });
});

describe('a response', () => {
  it('comes at any split of its octets, and the connection is available again', () => {
    const octets =
      'HTTP/1.1 103 Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX: y\r\n\r\n3\r\nabc\r\n0\r\nT: 1\r\nContent-Type: x\r\n\r\n';
    for (let size = 1; size < octets.length; size++) {
      world = new ClientWorld();
      const stream = get();
      world.transport.send(octets, size);
      expect(stream.body).toBe('abc');
      expect(stream.take()).toEqual([
        'headers :status=103 link=x',
        'headers :status=200 x=y',
        'headers t=1 end',
        'end',
      ]);
      expect([world.events, world.connection.canOpen, world.budget.used]).toEqual([['available'], true, 0]);
    }
  });

  it.each([
    ['GET', 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n'],
    ['GET', 'HTTP/1.1 204\r\nContent-Length: 0\r\n\r\n'],
    ['GET', 'HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\n\r\n'],
    ['HEAD', 'HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n'],
    ['HEAD', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n'],
    ['HEAD', 'HTTP/1.1 200 OK\r\n\r\n'],
  ])('to %s without a body: %s', (method, octets) => {
    const stream = world.request(method);
    world.transport.send(octets);
    expect(stream.take()).toHaveLength(2);
    expect([stream.events, world.connection.canOpen || octets.endsWith('OK\r\n\r\n')]).toEqual([[], true]);
  });

  it('of unknown length ends with the connection', () => {
    const stream = get();
    world.transport.send('HTTP/1.1 200 OK\r\n\r\nabc');
    expect([world.events, stream.take()]).toEqual([['retired'], ['headers :status=200']]);
    world.transport.send('def');
    world.transport.sendEnd();
    expect([stream.body, stream.take(), world.transport.state]).toEqual(['abcdef', ['end'], 'ended']);
  });

  it('of unknown length whose connection breaks is no response', () => {
    const stream = get();
    world.transport.send('HTTP/1.1 200 OK\r\n\r\nabc');
    world.transport.close('reset');
    expect(stream.take()).toEqual(['headers :status=200', 'reset STREAM_CLOSED']);
  });

  it('retires the connection when the server wishes', () => {
    for (const head of ['HTTP/1.1 200 OK\r\nConnection: close\r\n', 'HTTP/1.0 200 OK\r\n']) {
      world = new ClientWorld();
      const stream = get();
      world.transport.send(`${head}Content-Length: 2\r\n\r\nok`);
      expect([stream.body, world.events, world.transport.state]).toEqual(['ok', ['retired'], 'ended']);
      world.transport.close();
      expect(world.events).toEqual(['retired', 'closed: in order']);
    }
  });

  it('keeps a connection of HTTP/1.0 that says so', () => {
    get();
    world.transport.send('HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n');
    expect(world.connection.canOpen).toBe(true);
  });

  it('before the end of the request leaves the request its way', () => {
    const stream = world.request('POST', { endStream: false });
    world.transport.send('HTTP/1.1 413 No\r\nContent-Length: 0\r\n\r\n');
    expect([stream.take(), world.connection.canOpen]).toEqual([
      ['headers :status=413 content-length=0 end', 'end'],
      false,
    ]);
    stream.write('x');
    stream.stream.endData();
    world.loop.endTurn();
    expect([world.connection.canOpen, world.events]).toEqual([true, ['available']]);
  });

  it('before the end of a request that is given up cuts the connection', () => {
    const stream = world.request('POST', { endStream: false });
    world.transport.send('HTTP/1.1 413 No\r\nContent-Length: 0\r\n\r\n');
    stream.stream.reset(ErrorCode.NO_ERROR);
    world.loop.endTurn();
    expect([world.transport.state, world.events]).toEqual(['destroyed', ['retired', 'closed: in order']]);
  });

  it('stops the reading when its owner does not consume', () => {
    world = new ClientWorld({ bodyWindow: 10 });
    const stream = get();
    stream.consumes = false;
    world.transport.send(`HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n${'x'.repeat(20)}`);
    expect(world.transport.paused).toBe(true);
    stream.stream.consume(20);
    expect(world.transport.paused).toBe(false);
  });

  it('with a body that a 204 may not have is complete without it, and nobody else gets the rest', () => {
    const stream = get();
    world.transport.send('HTTP/1.1 204 No\r\nContent-Length: 2\r\n\r\nok');
    expect([stream.take(), stream.body, world.events]).toEqual([
      ['headers :status=204 end', 'end'],
      '',
      ['retired'],
    ]);
  });
});

describe('a response is refused', () => {
  it.each([
    ['no status line', 'HTTP/2 200 OK\r\n\r\n'],
    ['a status of two digits', 'HTTP/1.1 20 OK\r\n\r\n'],
    ['a status below 100', 'HTTP/1.1 099 OK\r\n\r\n'],
    ['an empty first line', '\r\nHTTP/1.1 200 OK\r\n\r\n'],
    ['a bare LF', 'HTTP/1.1 200 OK\nX: y\r\n\r\n'],
    ['folding', 'HTTP/1.1 200 OK\r\nX: y\r\n z\r\n\r\n'],
    ['two lengths', 'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n'],
    ['a length beside chunked', 'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n'],
    ['another coding', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n'],
    ['chunked in HTTP/1.0', 'HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n'],
    ['101 that nobody asked for', 'HTTP/1.1 101 OK\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n'],
    ['a bad chunk', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n'],
  ])('for %s', (_, octets) => {
    const stream = get();
    world.transport.send(octets);
    expect(stream.take().at(-1)).toBe('reset PROTOCOL_ERROR');
    expect([world.transport.state, world.connection.canOpen, world.budget.used]).toEqual([
      'destroyed',
      false,
      0,
    ]);
    expect(world.events[0]).toBe('retired');
    expect(world.events[1]).toMatch(/^closed: ./);
  });

  it('for a head that is too large, and for too many before it', () => {
    for (const octets of [
      `HTTP/1.1 200 OK\r\nX: ${'a'.repeat(70_000)}`,
      'HTTP/1.1 100 Continue\r\n\r\n'.repeat(17),
    ]) {
      world = new ClientWorld();
      const stream = get();
      world.transport.send(octets);
      expect(stream.take().at(-1)).toBe('reset ENHANCE_YOUR_CALM');
    }
  });
});

describe('the end of the connection', () => {
  it('before an octet of the response is told from one in the middle of it', () => {
    for (const [octets, code] of [
      ['', 'CONNECT_ERROR'],
      ['HTTP/1.1 2', 'STREAM_CLOSED'],
      ['HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc', 'STREAM_CLOSED'],
      ['HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n', 'STREAM_CLOSED'],
    ] as const) {
      for (const how of ['end', 'break'] as const) {
        world = new ClientWorld();
        const stream = get();
        world.transport.send(octets);
        if (how === 'end') world.transport.sendEnd();
        else world.transport.close('reset');
        expect(stream.take().at(-1)).toBe(`reset ${code}`);
        expect(world.connection.canOpen).toBe(false);
      }
    }
  });

  it('is taken from a server that ends an idle connection', () => {
    world.transport.sendEnd();
    expect([world.connection.canOpen, world.transport.state, world.events]).toEqual([
      false,
      'ended',
      ['retired'],
    ]);
  });

  it('comes when a server says what nobody asked for', () => {
    world.transport.send('HTTP/1.1 200 OK\r\n\r\n');
    expect([world.connection.canOpen, world.transport.state]).toEqual([false, 'destroyed']);
    expect(world.events).toHaveLength(2);
  });

  it('comes when a response is followed by octets: none of them is read as the next response', () => {
    const first = get();
    let second: RecordedStream | undefined;
    first.onEvent = (event) => {
      if (event === 'end' && world.connection.canOpen) second = world.request('GET');
    };
    const ok = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';
    world.transport.send(ok + ok);
    expect([first.body, second, world.connection.canOpen, world.events[0]]).toEqual([
      'ok',
      undefined,
      false,
      'retired',
    ]);
  });

  it('comes after the request under way when the owner drains it', () => {
    const stream = get();
    world.connection.drain();
    world.transport.send('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n');
    expect([stream.take().at(-1), world.transport.state, world.events]).toEqual([
      'end',
      'ended',
      ['retired'],
    ]);
    world = new ClientWorld();
    world.connection.drain();
    expect(world.transport.state).toBe('ended');
  });

  it('comes with a reset, and calls on a stream that is gone do nothing', () => {
    const { stream } = get();
    stream.reset(ErrorCode.CANCEL);
    stream.endData();
    stream.reset(0);
    expect([stream.sendAllowance(), world.transport.state, world.events]).toEqual([0, 'destroyed', []]);
    world.loop.endTurn();
    expect(world.events).toEqual(['retired', 'closed: in order']);
  });
});

describe('an upgrade', () => {
  const asking = () =>
    world.request('GET', {
      fields: [
        [':upgrade', 'chat'],
        ['x', 'y'],
      ],
      endStream: false,
    });
  const granted = 'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: Chat\r\nZ: 1\r\n\r\n';

  it('is asked for, and makes both directions raw octets', () => {
    const stream = asking();
    expect(world.transport.take()).toBe(
      'GET /x HTTP/1.1\r\nhost: a\r\nx: y\r\nconnection: upgrade\r\nupgrade: chat\r\n\r\n',
    );
    expect(stream.stream.sendAllowance()).toBe(0);
    world.transport.send(`${granted}hello`);
    expect([stream.body, stream.take(), world.events]).toEqual([
      'hello',
      ['headers :status=101 :upgrade=chat z=1', 'writable'],
      ['retired'],
    ]);
    stream.write('0\r\n\r\n');
    stream.stream.endData();
    expect([world.transport.take(), world.transport.state]).toEqual(['0\r\n\r\n', 'write-ended']);
    world.transport.sendEnd();
    expect([stream.take(), world.transport.state]).toEqual([['end'], 'ended']);
  });

  it('that is declined is a request like others', () => {
    const stream = asking();
    world.transport.send('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
    expect([stream.body, stream.take().at(-1), world.connection.canOpen]).toEqual(['ok', 'end', true]);
    stream.stream.endData();
  });

  it('to another protocol is refused', () => {
    const stream = asking();
    world.transport.send(granted.replace('Chat', 'other'));
    expect(stream.take()).toEqual(['reset PROTOCOL_ERROR']);
  });

  it('whose server ends first', () => {
    const stream = asking();
    world.transport.take();
    world.transport.send(granted);
    world.transport.sendEnd();
    stream.write('rest', true);
    expect([world.transport.take(), world.transport.state]).toEqual(['rest', 'ended']);
  });
});
