import { describe, expect, it } from 'vitest';
import { RequestHeadReader } from './request-head.ts';
import { readRequest } from './testing/read-head.ts';

function read(lines: readonly string[]): RequestHeadReader {
  const outcome = readRequest(`${lines.join('\r\n')}\r\n\r\n`);
  if (outcome instanceof RequestHeadReader) return outcome;
  throw new Error(`refused: ${outcome.status} ${outcome.reason}`);
}

/** Status with which a head is refused; 0 if it is not. */
function refusal(head: string): number {
  const outcome = readRequest(head);
  return outcome instanceof RequestHeadReader ? 0 : outcome.status;
}

const withFields = (...fields: string[]): number =>
  refusal(`POST / HTTP/1.1\r\nHost: a\r\n${fields.map((field) => `${field}\r\n`).join('')}\r\n`);

describe('the head of a request', () => {
  it('becomes a header list with pseudo headers first and names in lower case', () => {
    const head = read([
      'GET /a/b?c=d HTTP/1.1',
      'Accept:  */*\t ',
      'HOST: example.org:80',
      'X-Two: a',
      'x-two:b',
    ]);
    expect(head.list).toEqual([
      [':method', 'GET'],
      [':scheme', 'http'],
      [':authority', 'example.org:80'],
      [':path', '/a/b?c=d'],
      ['accept', '*/*'],
      ['x-two', 'a'],
      ['x-two', 'b'],
    ]);
    expect([head.contentLength, head.chunked, head.keepAlive, head.minorVersion]).toEqual([
      -1,
      false,
      true,
      1,
    ]);
  });

  it('keeps octets above 0x7f in values and empty values', () => {
    expect(read(['GET / HTTP/1.1', 'host: a', 'x: \xe4\xff', 'y:']).list.slice(4)).toEqual([
      ['x', '\xe4\xff'],
      ['y', ''],
    ]);
  });

  it('loses the fields of the connection and those that Connection names', () => {
    const head = read([
      'GET / HTTP/1.1',
      'Host: a',
      'X-Secret: 1',
      'Keep-Alive: timeout=5',
      'Proxy-Connection: keep-alive',
      'TE: gzip;q=0.5, trailers',
      'Connection: x-secret , close, TE',
      'X-Kept: 2',
    ]);
    expect(head.list.slice(4)).toEqual([
      ['te', 'trailers'],
      ['x-kept', '2'],
    ]);
    expect(head.keepAlive).toBe(false);
  });

  it('says how the body is framed', () => {
    expect(read(['POST / HTTP/1.1', 'Host: a', 'Content-Length: 12']).contentLength).toBe(12);
    const chunked = read(['POST / HTTP/1.1', 'Host: a', 'Transfer-Encoding: Chunked']);
    expect([chunked.chunked, chunked.contentLength]).toEqual([true, -1]);
    expect(chunked.list.slice(4)).toEqual([]);
  });

  it('of HTTP/1.0 needs no Host and lives on only if asked', () => {
    const head = read(['GET / HTTP/1.0', 'Expect: nonsense']);
    expect([head.list, head.keepAlive]).toEqual([
      [
        [':method', 'GET'],
        [':scheme', 'http'],
        [':authority', ''],
        [':path', '/'],
      ],
      false,
    ]);
    expect(read(['GET / HTTP/1.0', 'Connection: Keep-Alive']).keepAlive).toBe(true);
  });

  it('with an absolute target says what the target says', () => {
    const target = (line: string, host: string) =>
      read([line, `Host: ${host}`])
        .list.slice(1, 4)
        .map(([, value]) => value);
    expect(target('GET http://EXAMPLE.org/x?y HTTP/1.1', 'example.ORG')).toEqual([
      'http',
      'EXAMPLE.org',
      '/x?y',
    ]);
    expect(target('GET https://a?q HTTP/1.1', 'a')).toEqual(['https', 'a', '/?q']);
    expect(target('OPTIONS http://a:8080 HTTP/1.1', 'a:8080')).toEqual(['http', 'a:8080', '*']);
    expect(target('OPTIONS * HTTP/1.1', 'a')).toEqual(['http', 'a', '*']);
  });

  it('names the protocol of an upgrade that Connection names, if there is one and no body', () => {
    const upgrade = (...fields: string[]) => read(['GET / HTTP/1.1', 'Host: a', ...fields]);
    const head = upgrade('Connection: Upgrade', 'Upgrade: WebSocket', 'Sec-WebSocket-Key: x');
    expect(head.upgrade).toBe('websocket');
    expect(head.list.slice(3)).toEqual([
      [':path', '/'],
      [':upgrade', 'websocket'],
      ['sec-websocket-key', 'x'],
    ]);
    expect(upgrade('Upgrade: websocket').upgrade).toBeUndefined();
    expect(upgrade('Connection: upgrade').upgrade).toBeUndefined();
    expect(upgrade('Connection: upgrade', 'Upgrade: a, b').upgrade).toBeUndefined();
    expect(upgrade('Connection: upgrade', 'Upgrade: a', 'Upgrade: b').upgrade).toBeUndefined();
    expect(
      upgrade('Connection: upgrade, http2-settings', 'Upgrade: h2c', 'HTTP2-Settings: x').list,
    ).toHaveLength(4);
    expect(upgrade('Connection: upgrade', 'Upgrade: a', 'Content-Length: 1').upgrade).toBeUndefined();
  });

  it('waits for a 100 only if a body follows', () => {
    expect(
      read(['POST / HTTP/1.1', 'Host: a', 'Content-Length: 1', 'Expect: 100-Continue']).expectsContinue,
    ).toBe(true);
    expect(
      read(['POST / HTTP/1.1', 'Host: a', 'Content-Length: 0', 'Expect: 100-continue']).expectsContinue,
    ).toBe(false);
  });
});

describe('the head of a request is refused', () => {
  it.each([
    ['no method', ' / HTTP/1.1'],
    ['a method that is no token', 'G(T / HTTP/1.1'],
    ['a method in lower case', 'get / HTTP/1.1'],
    ['a method without end', `${'A'.repeat(65)} / HTTP/1.1`],
    ['two blanks', 'GET  / HTTP/1.1'],
    ['a tab', 'GET\t/ HTTP/1.1'],
    ['a blank in the target', 'GET /a b HTTP/1.1'],
    ['a fragment', 'GET /a#b HTTP/1.1'],
    ['a control octet in the target', 'GET /a\x01 HTTP/1.1'],
    ['an octet above 0x7f in the target', 'GET /\xe4 HTTP/1.1'],
    ['no version', 'GET /'],
    ['something behind the version', 'GET / HTTP/1.1 '],
    ['a version in lower case', 'GET / http/1.1'],
    ['a version with more digits', 'GET / HTTP/1.10'],
    ['a relative target', 'GET a/b HTTP/1.1'],
    ['another scheme', 'GET ftp://a/ HTTP/1.1'],
    ['user information', 'GET http://u@a/ HTTP/1.1'],
    ['no authority in the target', 'GET http:///x HTTP/1.1'],
    ['"*" for GET', 'GET * HTTP/1.1'],
    ['a target that Host does not agree with', 'GET http://b/ HTTP/1.1'],
  ])('for %s', (_, line) => {
    expect(refusal(`${line}\r\nHost: a\r\n\r\n`)).toBe(400);
  });

  it('for other versions and for CONNECT, with the status for it', () => {
    expect(refusal('GET / HTTP/1.2\r\nHost: a\r\n\r\n')).toBe(505);
    expect(refusal('PRI * HTTP/2.0\r\n\r\n')).toBe(505);
    expect(refusal('CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n')).toBe(501);
  });

  it.each([
    ['folding', 'X: a\r\n b'],
    ['a blank before the colon', 'X : a'],
    ['a blank in the name', 'X Y: a'],
    ['no colon', 'X'],
    ['no name', ': a'],
    ['a name that is no token', 'X(: a'],
    ['a name with an octet above 0x7f', 'X\xe4: a'],
    ['a bare CR', 'X: a\rb'],
    ['a bare LF', 'X: a\nY: b'],
    ['a NUL', 'X: a\0b'],
    ['a DEL', 'X: a\x7f'],
    ['a second Host', 'Host: a'],
    ['two lengths', 'Content-Length: 1\r\nContent-Length: 1'],
    ['a list of lengths', 'Content-Length: 1, 1'],
    ['a signed length', 'Content-Length: +1'],
    ['a hex length', 'Content-Length: 0x1'],
    ['an empty length', 'Content-Length:'],
    ['a length too large', 'Content-Length: 1234567890123456'],
    ['a length beside chunked', 'Content-Length: 1\r\nTransfer-Encoding: chunked'],
    ['chunked beside a length', 'Transfer-Encoding: chunked\r\nContent-Length: 1'],
    ['chunked twice', 'Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked'],
    ['chunked twice in a list', 'Transfer-Encoding: chunked, chunked'],
    ['chunked not last', 'Transfer-Encoding: chunked, gzip'],
    ['identity', 'Transfer-Encoding: identity'],
    ['chunked with a parameter', 'Transfer-Encoding: chunked;q=1'],
    ['chunked in another script', 'Transfer-Encoding: \x0bchunked'],
    ['no coding', 'Transfer-Encoding:'],
    ['Connection that names Host', 'Connection: host'],
    ['Connection that is no list of tokens', 'Connection: a b'],
  ])('for %s', (_, field) => {
    expect(withFields(field)).toBe(400);
  });

  it('for what is understood but not offered, with the status for it', () => {
    expect(withFields('Transfer-Encoding: gzip, chunked')).toBe(501);
    expect(withFields('Content-Length: 1', 'Expect: 200-maybe')).toBe(417);
    expect(withFields('Expect: 100-continue', 'Expect: 100-continue')).toBe(417);
    expect(withFields(...Array.from({ length: 256 }, (_, i) => `x-${i}: 1`))).toBe(431);
  });

  it('for chunked in HTTP/1.0', () => {
    expect(refusal('POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n')).toBe(400);
  });

  it.each([
    '',
    ' ',
    'a b',
    'a/b',
    'a@b',
    'a:b',
    'a:65536',
    'a:1:2',
    '[::1',
    '[]',
    '[::1]x',
    '::1',
    'a,b?',
    'a%4',
    '%zz',
  ])('for Host "%s"', (host) => {
    expect(refusal(`GET / HTTP/1.1\r\nHost: ${host}\r\n\r\n`)).toBe(400);
  });

  it.each(['a', 'a:', 'a:80', '10.0.0.1:65535', '[::1]', '[fe80::1%25eth0]:80', 'a_b.svc', 'a%41'])(
    'not for Host "%s"',
    (host) => {
      expect(refusal(`GET / HTTP/1.1\r\nHost: ${host}\r\n\r\n`)).toBe(0);
    },
  );

  it('without a Host in HTTP/1.1', () => {
    expect(refusal('GET / HTTP/1.1\r\n\r\n')).toBe(400);
  });
});
