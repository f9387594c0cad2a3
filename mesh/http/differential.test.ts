// Octets that try to mean two things, read by us and by node:http: each is refused by us, or means the same to both.
// What one reader takes for a request and another for a body is how requests are smuggled.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ClientWorld } from './testing/client-world.ts';
import { type ReadRequest, readRequestsByNode, readResponseByNode } from './testing/node-reader.ts';
import { ServerWorld } from './testing/server-world.ts';

const lengths = ['3', '0', '03', '3, 3', '+3', '3 ', '3\t', '0x3', '3\x0b', '', '-1', '3;'].map(
  (value) => `Content-Length: ${value}`,
);
const codings = [
  'chunked',
  'Chunked',
  'chunked ',
  'chunked, chunked',
  'gzip, chunked',
  'chunked, gzip',
  'identity',
  '\x0bchunked',
  'xchunked',
  '"chunked"',
  '',
].map((value) => `Transfer-Encoding: ${value}`);
const oddFields = [
  'Content-Length : 3',
  ' Content-Length: 3',
  'Transfer-Encoding : chunked',
  ' Transfer-Encoding: chunked',
  '\tTransfer-Encoding: chunked',
  'Transfer_Encoding: chunked',
  'Host: b',
  'Host:',
  'host: a',
  'X: a\rb',
  'X: a\nb',
  'X:\0',
  'X: \xff',
  'X',
  '',
  ': z',
  'Expect: 100-continue',
];
const connections = ['close', 'keep-alive', 'content-length', 'transfer-encoding'].map(
  (value) => `Connection: ${value}`,
);
const bodies = [
  '',
  'abc',
  '3\r\nabc\r\n0\r\n\r\n',
  '3;x=y\r\nabc\r\n0\r\n\r\n',
  '3;x="\r\nabc\r\n0\r\n\r\n',
  '3;\r\nabc\r\n0\r\n\r\n',
  '3;;x==y\r\nabc\r\n0\r\n\r\n',
  '3;=\r\nabc\r\n0\r\n\r\n',
  '3\r\nabc\r\n0\r\nX: y\r\n\r\n',
  '03\r\nabc\r\n0\r\n\r\n',
  '3 \r\nabc\r\n0\r\n\r\n',
  '0x3\r\nabc\r\n0\r\n\r\n',
  '3\nabc\n0\n\n',
  '3\r\nabcd\r\n0\r\n\r\n',
  '0\r\n\r\n',
  '3\r\nabc\r\n00\r\n\r\n',
  '3;\nabc\r\n0\r\n\r\n',
  '0\r\nContent-Length: 3\r\n\r\n',
  '+3\r\nabc\r\n0\r\n\r\n',
  '3\r\nabc0\r\n\r\n',
  '3\r\r\nabc\r\n0\r\n\r\n',
  '0\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n',
  'abcGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n',
];

/** Mostly one of the usual, seldom one of all. */
const mostly = (usual: readonly string[], all: readonly string[]) =>
  fc.oneof(
    { weight: 6, arbitrary: fc.constantFrom(...usual) },
    { weight: 1, arbitrary: fc.constantFrom(...all) },
  );
const lineEnd = fc.oneof(
  { weight: 40, arbitrary: fc.constant('\r\n') },
  { weight: 1, arbitrary: fc.constantFrom('\n', '\r', '\r\r\n', '\n\r\n') },
);
const field = fc
  .tuple(
    mostly(
      ['X: y', 'Content-Length: 3', 'Transfer-Encoding: chunked'],
      [...lengths, ...codings, ...oddFields, ...connections],
    ),
    lineEnd,
  )
  .map((parts) => parts.join(''));
const requestLine = fc
  .tuple(
    mostly(['GET', 'POST'], ['HEAD', 'OPTIONS', 'PUT', 'get', 'CONNECT']),
    mostly(['/', '/a?b=c'], ['*', 'http://a/', 'http://a', '//a', '/a b', '/\xe4', '/#', 'a', 'http://b/x']),
    mostly(['HTTP/1.1'], ['HTTP/1.0', 'HTTP/1.2', 'HTTP/2.0', 'http/1.1', 'HTTP/1.1 ', '', 'HTTP/01.1']),
  )
  .map((parts) => parts.join(' '));
const host = mostly(['Host: a\r\n'], ['']);

function message(firstLine: fc.Arbitrary<string>, before: fc.Arbitrary<string>): fc.Arbitrary<string> {
  const parts = fc.tuple(
    firstLine,
    lineEnd,
    before,
    fc.array(field, { maxLength: 3 }),
    lineEnd,
    fc.constantFrom(...bodies),
  );
  return parts.map(
    ([line, end, first, fields, blank, body]) => line + end + first + fields.join('') + blank + body,
  );
}

/** One octet put in, taken out or changed, somewhere. */
const mutation = fc.option(
  fc.record({
    at: fc.nat(300),
    put: fc.constantFrom('\r', '\n', ' ', '\t', ':', '\0', ',', ';', '', '0', '\x7f', '\r\n'),
    over: fc.nat(1),
  }),
);

function mutated(text: fc.Arbitrary<string>): fc.Arbitrary<string> {
  return fc.tuple(text, mutation).map(([whole, change]) => {
    if (change === null) return whole;
    const at = change.at % (whole.length + 1);
    return whole.slice(0, at) + change.put + whole.slice(at + change.over);
  });
}

/** What we take for whole requests. */
function readRequestsByUs(octets: string, size: number): ReadRequest[] {
  const world = new ServerWorld();
  world.answer = (recorded) => {
    recorded.onEvent = (event) => {
      if (event === 'end') recorded.stream.respond([[':status', '200']], true);
    };
    return recorded;
  };
  world.transport.send(octets, size);
  const whole = world.requests.filter(({ stream }) => stream.events.includes('end'));
  return whole.map(({ list, stream }) => {
    const [[, method], , [, authority], [, target]] = list as [
      [string, string],
      unknown,
      [string, string],
      [string, string],
    ];
    return { method, target, host: authority, body: stream.body };
  });
}

/** Node does not take the target apart. */
function pathOf({ target, method }: ReadRequest): string {
  const path = target.replace(/^https?:\/\/[^/?]+/i, '');
  if (path !== '') return path.startsWith('?') ? `/${path}` : path;
  return method === 'OPTIONS' ? '*' : '/';
}

describe('requests', () => {
  it('mean to node:http what they mean to us, or are refused', async () => {
    let compared = 0;
    const requests = fc
      .array(message(requestLine, host), { minLength: 1, maxLength: 3 })
      .map((each) => each.join(''));
    await fc.assert(
      fc.asyncProperty(mutated(requests), fc.integer({ min: 1, max: 1000 }), async (text, size) => {
        const octets = `${text}GET /last HTTP/1.1\r\nHost: a\r\n\r\n`;
        const ours = readRequestsByUs(octets, size);
        const node = await readRequestsByNode(octets);
        for (const [i, request] of ours.entries()) {
          const same = node.requests[i];
          // Node knows a list of methods, we take any name.
          if (same === undefined && node.error === 'HPE_INVALID_METHOD') break;
          expect(same && { ...same, target: pathOf(same) }).toMatchObject({
            method: request.method,
            target: request.target,
            body: request.body,
          });
          compared++;
        }
      }),
      { numRuns: 600 },
    );
    expect(compared).toBeGreaterThan(50);
  });

  it('mean the same however they are split', () => {
    const requests = fc
      .array(message(requestLine, host), { minLength: 1, maxLength: 3 })
      .map((each) => each.join(''));
    fc.assert(
      fc.property(mutated(requests), fc.integer({ min: 1, max: 40 }), (text, size) => {
        expect(readRequestsByUs(text, size)).toEqual(readRequestsByUs(text, text.length || 1));
      }),
      { numRuns: 500 },
    );
  });
});

const statusLine = mostly(
  ['HTTP/1.1 200 OK'],
  [
    'HTTP/1.0 200 OK',
    'HTTP/1.1 204 No',
    'HTTP/1.1 304 No',
    'HTTP/1.1 200',
    'HTTP/1.1  200 OK',
    'HTTP/1.2 200 OK',
    'HTTP/1.1 20 OK',
    'HTTP/1.1 2000 OK',
    'HTTP/1.1 100 Go',
    'HTTP/1.1 101 Go',
    'HTTP/2 200',
  ],
);

describe('a response', () => {
  it('means to node:http what it means to us, or is refused', async () => {
    let compared = 0;
    const response = mutated(message(statusLine, fc.constant('')));
    await fc.assert(
      fc.asyncProperty(response, fc.constantFrom('GET', 'HEAD'), async (text, method) => {
        const world = new ClientWorld();
        const recorded = world.request(method);
        const status: string[] = [];
        recorded.onEvent = (event) => {
          if (event.startsWith('headers :status')) status.push(recorded.head[0]?.[1] ?? '');
        };
        world.transport.send(text);
        if (world.transport.state === 'open' && recorded.stream !== undefined) world.transport.sendEnd();
        if (!recorded.events.includes('end')) return;
        const node = await readResponseByNode(text, method);
        expect(node).toEqual({ status: Number(status.at(-1)), body: recorded.body });
        compared++;
      }),
      { numRuns: 600 },
    );
    expect(compared).toBeGreaterThan(50);
  });
});
