// The server end against a client of raw octets; real sockets and other implementations are in interop.test.ts.

import { beforeEach, describe, expect, it } from 'vitest';
import { ErrorCode } from '../h2/error.ts';
import { Slab } from '../io/slab.ts';
import type { RecordedStream } from './testing/recorded-stream.ts';
import { ServerWorld } from './testing/server-world.ts';

let world: ServerWorld;

beforeEach(() => {
  world = new ServerWorld();
});

const ok = (stream: RecordedStream, body?: string): void => {
  stream.stream.respond(
    [[':status', '200'], ...(body === undefined ? [] : [['content-length', `${body.length}`] as const])],
    body === undefined,
  );
  if (body !== undefined) stream.write(body, true);
};
const get = (path: string, ...fields: string[]): string =>
  [`GET ${path} HTTP/1.1`, 'Host: a', ...fields, '', ''].join('\r\n');
const post = (path: string, ...fields: string[]): string => get(path, ...fields).replace('GET', 'POST');

describe('a request', () => {
  it('is answered, and the connection takes the next one', () => {
    world.transport.send(get('/1'));
    expect(world.lines).toEqual(['GET /1 end']);
    expect(world.last.take()).toEqual(['end']);
    ok(world.last, 'hello');
    expect(world.transport.take()).toBe('HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello');
    world.transport.send(get('/2'));
    ok(world.last);
    expect(world.transport.take()).toBe('HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n');
    expect(world.transport.state).toBe('open');
  });

  it('comes at any split of its octets, and leaves no memory behind', () => {
    const octets = `\r\n${post('/x', 'Content-Length: 5')}hello${post('/y', 'Transfer-Encoding: chunked')}3;a=b\r\nabc\r\n0\r\nX-T: 1\r\n\r\n`;
    for (let size = 1; size < octets.length; size++) {
      world = new ServerWorld();
      world.answer = (stream) => {
        stream.onEvent = (event) => event === 'end' && ok(stream);
        return stream;
      };
      world.transport.send(octets, size);
      expect(world.lines).toEqual(['POST /x', 'POST /y']);
      expect(world.requests.map(({ stream }) => stream.body)).toEqual(['hello', 'abc']);
      expect(world.last.take()).toEqual(['headers x-t=1 end', 'end']);
      expect(world.budget.used).toBe(0);
    }
  });

  it('behind another waits for the answer to it', () => {
    world.transport.send(get('/1') + get('/2') + get('/3'));
    expect(world.lines).toEqual(['GET /1 end']);
    expect(world.transport.paused).toBe(true);
    ok(world.last, 'one');
    expect(world.lines).toEqual(['GET /1 end']);
    world.loop.endTurn();
    expect(world.lines).toEqual(['GET /1 end', 'GET /2 end']);
    ok(world.last, 'two');
    world.loop.endTurn();
    ok(world.last, 'three');
    world.loop.endTurn();
    expect(world.transport.take().match(/one|two|three/g)).toEqual(['one', 'two', 'three']);
    expect([world.transport.paused, world.budget.used]).toEqual([false, 0]);
  });

  it('may be answered from inside its own event, many of them in one piece', () => {
    world.answer = (stream) => {
      ok(stream);
      return stream;
    };
    const answers = world.exchange(get('/').repeat(500));
    expect(answers.split('HTTP/1.1 200 OK').length - 1).toBe(500);
    expect([world.requests.length, world.budget.used, world.transport.paused]).toEqual([500, 0, false]);
  });

  it('with too much behind it is answered, and the connection ends', () => {
    world = new ServerWorld({ maxHeldBytes: 1000 });
    world.transport.send(get('/1') + get('/2').repeat(100));
    ok(world.last);
    world.loop.endTurn();
    expect(world.transport.take()).toBe('HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n');
    expect([world.lines, world.transport.state, world.budget.used]).toEqual([['GET /1 end'], 'ended', 0]);
  });

  it('of HEAD gets no body', () => {
    world.transport.send(get('/').replace('GET', 'HEAD'));
    ok(world.last, 'hello');
    expect(world.transport.take()).toBe('HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n');
    expect(world.exchange(get('/'))).toBe('');
    expect(world.lines).toHaveLength(2);
  });
});

describe('a response', () => {
  beforeEach(() => world.transport.send(get('/')));

  it('of unknown length goes in chunks, with trailers', () => {
    world.last.stream.respond([[':status', '200']], false);
    world.last.write('hello');
    world.last.write('x'.repeat(30));
    world.last.stream.trailers([['x-sum', '1']]);
    expect(world.transport.take()).toBe(
      `HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n1e\r\n${'x'.repeat(30)}\r\n0\r\nx-sum: 1\r\n\r\n`,
    );
  });

  it.each(['204', '304'])('%s has no body', (status) => {
    world.last.stream.respond([[':status', status]], true);
    expect(world.transport.take()).toMatch(new RegExp(`^HTTP/1.1 ${status} [A-Za-z ]+\r\n\r\n$`));
    world.transport.send(get('/2'));
    expect(world.lines).toHaveLength(2);
  });

  it('may come after informational ones', () => {
    world.last.stream.respond(
      [
        [':status', '103'],
        ['link', '</a>'],
      ],
      false,
    );
    ok(world.last);
    expect(world.transport.take()).toBe(
      'HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n',
    );
  });

  it('shorter than it declared cuts the connection', () => {
    world.last.stream.respond(
      [
        [':status', '200'],
        ['content-length', '10'],
      ],
      false,
    );
    world.last.write('short', true);
    expect(world.transport.state).toBe('destroyed');
    world.loop.endTurn();
    expect(world.closed).toBe('in order');
  });

  it('longer than it declared is refused', () => {
    world.last.stream.respond(
      [
        [':status', '200'],
        ['content-length', '1'],
      ],
      false,
    );
    expect(() => world.last.write('long')).toThrow(/left of content-length/);
  });

  it.each([
    [
      'a line break in a value',
      [
        [':status', '200'],
        ['x', 'a\r\nb: c'],
      ],
    ],
    [
      'one made of other characters',
      [
        [':status', '200'],
        ['x', 'a\u010d\u010ab'],
      ],
    ],
    [
      'a blank in a name',
      [
        [':status', '200'],
        ['x y', 'a'],
      ],
    ],
    [
      'a colon in a name',
      [
        [':status', '200'],
        ['x: y\r\nz', 'a'],
      ],
    ],
    ['no status', [['x', 'a']]],
  ] as const)('with %s is not sent', (_, list) => {
    expect(() => world.last.stream.respond(list, true)).toThrow(/HTTP\/1.1 head/);
    expect(world.transport.take()).toBe('');
  });

  it('never carries fields of another connection', () => {
    const list = [
      [':status', '200'],
      ['connection', 'x'],
      ['transfer-encoding', 'chunked'],
      ['keep-alive', '1'],
      ['upgrade', 'x'],
    ] as const;
    world.last.stream.respond(list, true);
    expect(world.transport.take()).toBe('HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n');
  });

  it('is told when there is room again, also for a head that found none', () => {
    world.transport.roomLeft = 10;
    world.last.stream.respond(
      [
        [':status', '200'],
        ['content-length', '3'],
      ],
      false,
    );
    expect(world.transport.written).toBe('HTTP/1.1 2');
    expect(world.last.stream.sendAllowance()).toBe(0);
    world.last.take();
    world.transport.makeRoom(1000);
    expect(world.last.take()).toEqual(['writable']);
    world.last.write('abc', true);
    expect(world.transport.take()).toBe('HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc');
  });

  it('leaves the octets around the data as they were', () => {
    world.last.stream.respond([[':status', '200']], false);
    const { stream } = world.last;
    const slab = new Slab(64);
    slab.bytes.fill(0x2e);
    slab.bytes.write('data', 20);
    stream.writeData(slab, 20, 4, false);
    expect(slab.bytes.toString('latin1', 20)).toBe(`data${'.'.repeat(40)}`);
    expect(slab.bytes.toString('latin1', 0, 11)).toBe('.'.repeat(11));
  });
});

describe('a body', () => {
  it('stops the reading when its owner does not consume, and starts it again', () => {
    world = new ServerWorld({ bodyWindow: 10 });
    world.transport.send(post('/', 'Content-Length: 100'));
    world.last.consumes = false;
    world.transport.send('x'.repeat(10));
    expect(world.transport.paused).toBe(false);
    world.transport.send('x'.repeat(5));
    expect(world.transport.paused).toBe(true);
    world.last.stream.consume(5);
    expect(world.transport.paused).toBe(true);
    world.last.stream.consume(5);
    expect(world.transport.paused).toBe(false);
  });

  it('may go on when the answer is over already', () => {
    world.transport.send(post('/', 'Content-Length: 10'));
    ok(world.last);
    world.transport.send('hello');
    world.transport.send('hello');
    expect([world.last.body, world.last.take()]).toEqual(['hellohello', ['end']]);
    world.transport.send(get('/2'));
    expect(world.lines).toHaveLength(2);
  });

  it('that nobody wants is thrown away, and the connection lives on', () => {
    for (const how of ['reset', 'unhandled'] as const) {
      world = new ServerWorld();
      world.answer = (stream) => {
        if (how === 'reset') return stream;
        ok(stream);
        return undefined;
      };
      world.transport.send(`${post('/', 'Transfer-Encoding: chunked')}5\r\nhello\r\n`);
      if (how === 'reset') {
        ok(world.last);
        world.last.stream.reset(ErrorCode.NO_ERROR);
      }
      world.transport.send(`5\r\nworld\r\n0\r\n\r\n${get('/2')}`);
      expect(world.lines).toEqual(['POST /', 'GET /2 end']);
      expect(world.requests[0]?.stream.events.includes('end')).toBe(false);
    }
  });

  it('that nobody wants ends the connection when it is too long', () => {
    world = new ServerWorld({ maxDiscardBytes: 100 });
    world.transport.send(post('/', 'Content-Length: 101'));
    ok(world.last);
    expect(world.transport.take()).toContain('connection: close');
    world.last.stream.reset(ErrorCode.NO_ERROR);
    expect(world.transport.state).toBe('ended');

    world = new ServerWorld({ maxDiscardBytes: 100 });
    world.transport.send(post('/', 'Transfer-Encoding: chunked'));
    ok(world.last);
    expect(world.transport.take()).not.toContain('connection: close');
    world.last.stream.reset(ErrorCode.NO_ERROR);
    world.transport.send(`65\r\n${'x'.repeat(101)}\r\n`);
    expect(world.transport.state).toBe('ended');
  });

  it('waits for the 100 that its owner sends', () => {
    world.transport.send(post('/', 'Content-Length: 2', 'Expect: 100-continue'));
    world.last.stream.respond([[':status', '100']], false);
    expect(world.transport.take()).toBe('HTTP/1.1 100 Continue\r\n\r\n');
    world.transport.send('ok');
    ok(world.last);
    expect(world.transport.take()).toBe('HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n');
  });

  it('that was never asked for ends the connection: what comes next could be either', () => {
    world.transport.send(post('/', 'Content-Length: 2', 'Expect: 100-continue'));
    world.last.stream.respond([[':status', '403']], true);
    expect(world.transport.take()).toContain('connection: close');
    world.last.stream.reset(ErrorCode.NO_ERROR);
    expect(world.transport.state).toBe('ended');
  });

  it.each([
    '5\r\nhelloX',
    'xyz\r\n',
    '5 \r\nhello\r\n',
    '\n',
    '0\r\nbad name: x\r\n\r\n',
    '5\nhello',
    '-5\r\n',
    '0x5\r\n',
    `${'f'.repeat(12)}\r\n`,
    '0\r\nContent-Length: 3\r\n\r\n',
    '0\r\nTransfer-Encoding: chunked\r\n\r\n',
  ])('that is no chunked body ("%s") is refused', (octets) => {
    world.transport.send(post('/', 'Transfer-Encoding: chunked'));
    expect(world.exchange(octets)).toBe(
      'HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n',
    );
    expect([world.last.take(), world.transport.state]).toEqual([['reset PROTOCOL_ERROR'], 'ended']);
    expect(world.refusals).toHaveLength(1);
  });

  it('that turns out to be none behind the begin of the answer cuts the connection', () => {
    world.transport.send(post('/', 'Transfer-Encoding: chunked'));
    world.last.stream.respond([[':status', '200']], false);
    world.transport.send('nonsense');
    expect([world.last.take(), world.transport.state]).toEqual([['reset PROTOCOL_ERROR'], 'destroyed']);
  });
});

describe('HTTP/1.0', () => {
  it('gets a body that ends with the connection, and no chunks', () => {
    world.transport.send('GET / HTTP/1.0\r\n\r\n');
    world.last.stream.respond([[':status', '100']], false);
    world.last.stream.respond([[':status', '200']], false);
    world.last.write('hello', true);
    expect(world.transport.take()).toBe('HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nhello');
    expect(world.transport.state).toBe('ended');
    expect(world.connection.version).toBe('1.0');
  });

  it('keeps the connection if it asks for it and the length is known', () => {
    world.transport.send('GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n');
    ok(world.last, 'a');
    expect(world.transport.take()).toBe(
      'HTTP/1.1 200 OK\r\ncontent-length: 1\r\nconnection: keep-alive\r\n\r\na',
    );
    expect(world.transport.state).toBe('open');
  });
});

describe('an upgrade', () => {
  const upgrade = get('/', 'Connection: Upgrade', 'Upgrade: chat');

  it('makes both directions raw octets', () => {
    world.transport.send(`${upgrade}early`);
    expect(world.lines).toEqual(['GET /']);
    world.last.stream.respond(
      [
        [':status', '101'],
        [':upgrade', 'chat'],
        ['x', 'y'],
      ],
      false,
    );
    expect(world.transport.take()).toBe(
      'HTTP/1.1 101 Switching Protocols\r\nx: y\r\nconnection: upgrade\r\nupgrade: chat\r\n\r\n',
    );
    world.loop.endTurn();
    world.transport.send('GET / HTTP/1.1\r\n\r\n');
    expect([world.last.body, world.lines]).toEqual(['earlyGET / HTTP/1.1\r\n\r\n', ['GET /']]);
    world.last.write('back');
    world.last.stream.endData();
    expect([world.transport.take(), world.transport.state]).toEqual(['back', 'write-ended']);
    world.transport.sendEnd();
    expect([world.last.take(), world.transport.state]).toEqual([['end'], 'ended']);
    world.transport.close();
    expect(world.closed).toBe('in order');
  });

  it('that is declined is a request like others', () => {
    world.transport.send(upgrade + get('/2'));
    ok(world.last);
    world.loop.endTurn();
    expect(world.requests[0]?.stream.take()).toEqual(['end']);
    expect(world.lines).toEqual(['GET /', 'GET /2 end']);
  });

  it('ends from the client first', () => {
    world.transport.send(upgrade);
    world.last.stream.respond(
      [
        [':status', '101'],
        [':upgrade', 'chat'],
      ],
      false,
    );
    world.transport.sendEnd();
    expect(world.last.take()).toEqual(['end']);
    world.last.write('rest', true);
    expect([world.transport.take().endsWith('rest'), world.transport.state]).toEqual([true, 'ended']);
  });
});

describe('the connection', () => {
  it('ends after the answer when the client wishes', () => {
    world.transport.send(get('/', 'Connection: close') + get('/2'));
    ok(world.last);
    world.loop.endTurn();
    expect(world.transport.take()).toContain('connection: close');
    expect([world.transport.state, world.lines.length, world.budget.used]).toEqual(['ended', 1, 0]);
    world.transport.close();
    expect(world.closed).toBe('in order');
  });

  it.each([
    ['a bad head', 'GET /\r\n\r\n', 'HTTP/1.1 400 Bad Request'],
    ['a bare LF, at once', 'GET / HTTP/1.1\nHost', 'HTTP/1.1 400 Bad Request'],
    [
      'a head too large',
      `GET / HTTP/1.1\r\nX: ${'a'.repeat(70_000)}`,
      'HTTP/1.1 431 Request Header Fields Too Large',
    ],
    [
      'a whole head too large',
      `GET / HTTP/1.1\r\nX: ${'a'.repeat(70_000)}\r\n\r\n`,
      'HTTP/1.1 431 Request Header Fields Too Large',
    ],
    ['a line too long', `GET /${'a'.repeat(70_000)}`, 'HTTP/1.1 414 URI Too Long'],
    [
      'too many fields, before their end',
      `GET / HTTP/1.1\r\n${'a: b\r\n'.repeat(300)}`,
      'HTTP/1.1 431 Request Header Fields Too Large',
    ],
    ['nothing but empty lines', '\r\n'.repeat(10), 'HTTP/1.1 400 Bad Request'],
  ])('refuses %s and ends', (_, octets, line) => {
    expect(world.exchange(octets)).toBe(`${line}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n`);
    expect([world.transport.state, world.lines, world.refusals.length, world.budget.used]).toEqual([
      'ended',
      [],
      1,
      0,
    ]);
  });

  it('refuses a head that does not come in time', () => {
    world.transport.send('GET / HT');
    world.loop.pass(9_000);
    world.transport.send('TP');
    expect(world.transport.written).toBe('');
    world.loop.pass(1_500);
    expect(world.transport.take()).toContain('408 Request Timeout');
    expect([world.transport.state, world.budget.used]).toEqual(['ended', 0]);
  });

  it('takes an empty line behind a request for what it is, however long nothing follows', () => {
    world.transport.send(`${get('/1')}\r\n`);
    ok(world.last);
    world.loop.endTurn();
    world.loop.pass(60_000);
    expect(world.refusals).toEqual([]);
    world.transport.send(get('/2'));
    expect(world.lines).toHaveLength(2);
  });

  it('ends when it is idle for too long, and only then', () => {
    for (let i = 0; i < 3; i++) {
      world.loop.pass(200_000);
      world.transport.send(get('/'));
      world.loop.pass(400_000);
      expect(world.transport.state).toBe('open');
      ok(world.last);
    }
    world.loop.pass(300_001);
    expect(world.transport.state).toBe('ended');
  });

  it('drains: after a moment when idle, after the answer when not', () => {
    world.connection.drain();
    world.loop.pass(999);
    expect(world.transport.state).toBe('open');
    world.loop.pass(1);
    expect(world.transport.state).toBe('ended');
    world = new ServerWorld();
    world.transport.send(get('/'));
    world.connection.drain();
    world.loop.pass(5_000);
    expect(world.transport.state).toBe('open');
    ok(world.last);
    expect(world.transport.take()).toContain('connection: close');
    expect(world.transport.state).toBe('ended');
  });

  it('answers a request that was on its way when it was drained, and that as the last one', () => {
    world.transport.send(get('/'));
    ok(world.last);
    expect(world.transport.take()).not.toContain('connection: close');
    world.connection.drain();
    world.loop.pass(500);
    world.transport.send(get('/late'));
    world.loop.pass(5_000);
    ok(world.last);
    expect(world.transport.take()).toContain('connection: close');
    expect(world.transport.state).toBe('ended');
  });

  it('keeps the promise of a response that was begun before the drain', () => {
    world.transport.send(get('/'));
    world.last.stream.respond([[':status', '200']], false);
    world.connection.drain();
    world.last.write('all', true);
    expect(world.transport.take()).not.toContain('connection: close');
    expect(world.transport.state).toBe('open');
    world.loop.pass(1_000);
    expect(world.transport.state).toBe('ended');
  });

  it('tells the owner that the client is gone', () => {
    world.transport.send(get('/'));
    world.transport.close('reset');
    expect([world.last.take(), world.closed]).toEqual([['end', 'reset CONNECT_ERROR'], 'reset']);
    world = new ServerWorld();
    world.transport.send(get('/'));
    world.transport.sendEnd();
    expect([world.last.take(), world.transport.state]).toEqual([['end', 'reset CANCEL'], 'destroyed']);
    world = new ServerWorld();
    world.transport.send(`${post('/', 'Content-Length: 10')}abc`);
    world.transport.sendEnd();
    expect([world.last.take(), world.transport.state]).toEqual([['reset CANCEL'], 'destroyed']);
  });

  it('ends behind the last of several requests when the client ended after them', () => {
    world.transport.roomLeft = 10;
    world.answer = (stream) => {
      ok(stream);
      return stream;
    };
    // The answer to the first finds no room: the others wait, and the end comes while they do.
    world.transport.send(get('/1') + get('/2') + get('/3'));
    expect(world.lines).toEqual(['GET /1 end']);
    world.transport.sendEnd();
    world.transport.makeRoom(10_000);
    expect([world.lines.length, world.transport.state, world.budget.used]).toEqual([3, 'ended', 0]);
  });

  it('refuses unfinished heads when those of others take all the memory there is for them', () => {
    world.budget.used = world.budget.limit;
    expect(world.exchange('GET / HT')).toContain('503 Service Unavailable');
    expect([world.transport.state, world.budget.used]).toEqual(['ended', world.budget.limit]);
  });

  it('serves a client that ended after its last request', () => {
    world.transport.send(get('/', 'Connection: close'));
    world.transport.sendEnd();
    ok(world.last);
    expect(world.transport.take()).toContain('200 OK');
  });

  it('is cut by a reset, and calls on a stream that is gone do nothing', () => {
    world.transport.send(get('/'));
    const { stream } = world.last;
    stream.reset(ErrorCode.INTERNAL_ERROR);
    expect([world.transport.state, world.closed]).toEqual(['destroyed', undefined]);
    stream.respond([[':status', '200']], true);
    stream.endData();
    stream.reset(0);
    expect(stream.sendAllowance()).toBe(0);
    world.loop.endTurn();
    expect([world.last.take(), world.closed]).toEqual([['end'], 'in order']);
  });

  it('is destroyed with the requests on it', () => {
    world.transport.send(get('/') + get('/2'));
    world.connection.destroy();
    expect([world.last.take(), world.closed, world.budget.used]).toEqual([
      ['end', 'reset CONNECT_ERROR'],
      'in order',
      0,
    ]);
  });

  it('ends when a request is refused without an answer', () => {
    world.answer = () => undefined;
    world.transport.send(get('/'));
    expect([world.transport.state, world.closed]).toEqual(['destroyed', 'in order']);
  });

  it('ends when a callback throws: where it stood is not known any more', () => {
    world.answer = () => {
      throw new Error('a mistake');
    };
    expect(() => world.transport.send(get('/'))).toThrow('a mistake');
    expect([world.transport.state, world.closed]).toEqual(['destroyed', 'in order']);
  });
});
