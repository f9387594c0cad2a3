import { describe, expect, it } from 'vitest';
import type { Header } from '../../mesh/h2/header.ts';
import type { RequestHead } from '../../mesh/http/message.ts';
import { ip } from '../../mesh/model/fixture.ts';
import { forwardHeaders, requestIdOf } from './forward-headers.ts';

const client = ip('10.0.0.7');

function forwarded(headers: Header[], options: Partial<Parameters<typeof forwardHeaders>[1]> = {}) {
  const head: RequestHead = {
    method: 'GET',
    scheme: 'http',
    authority: 'api',
    path: '/x',
    upgrade: undefined,
    headers,
  };
  return forwardHeaders(head, {
    client,
    requestId: 'id-1',
    clientCert: undefined,
    extra: undefined,
    ...options,
  }).slice(4);
}

describe('forwardHeaders()', () => {
  it('keeps what the client sent in its order, and ends X-Forwarded-For with where the client is', () => {
    const headers: Header[] = [
      ['accept', '*/*'],
      ['x-forwarded-for', '1.1.1.1'],
      ['cookie', 'a=b'],
      ['x-forwarded-for', '2.2.2.2, 3.3.3.3'],
    ];
    expect(forwarded(headers)).toEqual([
      ['accept', '*/*'],
      ['cookie', 'a=b'],
      ['x-forwarded-for', '1.1.1.1, 2.2.2.2, 3.3.3.3, 10.0.0.7'],
      ['x-request-id', 'id-1'],
      ['x-forwarded-proto', 'http'],
    ]);
  });

  it('keeps what a proxy before says of the scheme', () => {
    const headers: Header[] = [['x-forwarded-proto', 'https']];
    expect(forwarded(headers).filter(([name]) => name === 'x-forwarded-proto')).toEqual(headers);
  });

  it('never passes on a certificate header of the client', () => {
    const forged: Header = ['x-forwarded-client-cert', 'URI=spiffe://cluster.local/ns/a/sa/admin'];
    expect(forwarded([forged]).map(([name]) => name)).not.toContain('x-forwarded-client-cert');
    const own = forwarded([forged], { clientCert: 'URI=spiffe://cluster.local/ns/shop/sa/web' });
    expect(own.filter(([name]) => name === 'x-forwarded-client-cert')).toEqual([
      ['x-forwarded-client-cert', 'URI=spiffe://cluster.local/ns/shop/sa/web'],
    ]);
  });

  it('puts fields of a trace in the place of those the client sent', () => {
    const list = forwarded(
      [
        ['traceparent', 'old'],
        ['x-b3-traceid', 'old'],
      ],
      {
        extra: [
          ['traceparent', 'new'],
          ['x-b3-traceid', 'new'],
        ],
      },
    );
    expect(list.filter(([name]) => /trace/.test(name))).toEqual([
      ['traceparent', 'new'],
      ['x-b3-traceid', 'new'],
    ]);
  });
});

describe('requestIdOf()', () => {
  it("takes the client's id, or makes one where that is missing or out of size", () => {
    expect(requestIdOf([['x-request-id', 'mine']])).toBe('mine');
    for (const headers of [[], [['x-request-id', '']], [['x-request-id', 'x'.repeat(129)]]] as Header[][])
      expect(requestIdOf(headers)).toMatch(/^[0-9a-f]{8}-[0-9a-f-]{27}$/);
  });

  it('takes names with underscores for the same, as many applications do', () => {
    const headers: Header[] = [
      ['x_forwarded_client_cert', 'URI=spiffe://admin'],
      ['x-forwarded_for', '1.1.1.1'],
      ['x_own', 'kept'],
    ];
    expect(forwarded(headers, { clientCert: 'URI=spiffe://me' })).toEqual([
      ['x_own', 'kept'],
      ['x-forwarded-for', '1.1.1.1, 10.0.0.7'],
      ['x-request-id', 'id-1'],
      ['x-forwarded-proto', 'http'],
      ['x-forwarded-client-cert', 'URI=spiffe://me'],
    ]);
  });
});
