import { describe, expect, it } from 'vitest';
import { hashText } from '../../mesh/balance/text-hash.ts';
import type { Header } from '../../mesh/h2/header.ts';
import type { RequestHead } from '../../mesh/http/message.ts';
import { cookieValue, requestHash } from './hash-key.ts';

function head(...headers: Header[]): RequestHead {
  return { method: 'GET', scheme: 'http', authority: 'api', path: '/', upgrade: undefined, headers };
}

const client = { sourceIp: '10.0.0.7', random: () => 0.5 };

describe('requestHash()', () => {
  it('hashes the source, or a header that is there', () => {
    expect(requestHash({ kind: 'source' }, head(), client)).toEqual({
      hash: hashText('10.0.0.7'),
      setCookie: undefined,
    });
    const key = { kind: 'header', name: 'x-user' } as const;
    expect(requestHash(key, head(['x-user', 'ann']), client).hash).toBe(hashText('ann'));
    expect(requestHash(key, head(), client).hash).toBeUndefined();
    expect(requestHash(undefined, head(), client).hash).toBeUndefined();
  });

  it('gives a cookie to a client without one, which then leads to the same hash', () => {
    const key = { kind: 'cookie', name: 'sid', ttlMs: 60_000 } as const;
    const first = requestHash(key, head(), client);
    expect(first.setCookie).toMatch(/^sid=[0-9a-f]{32}; Path=\/; HttpOnly; Max-Age=60$/);
    const value = first.setCookie?.split(';')[0] ?? '';
    const second = requestHash(key, head(['cookie', `a=b; ${value}; c=d`]), client);
    expect(second).toEqual({ hash: first.hash, setCookie: undefined });
    expect(requestHash({ ...key, ttlMs: 0 }, head(), client).setCookie).not.toContain('Max-Age');
    expect(requestHash({ ...key, ttlMs: undefined }, head(), client)).toEqual({
      hash: undefined,
      setCookie: undefined,
    });
  });
});

describe('cookieValue()', () => {
  it('finds the first of that name in any Cookie field', () => {
    const request = head(['cookie', 'xsid=0; a=1'], ['cookie', 'sid=2=3; sid=4']);
    expect([cookieValue(request, 'sid'), cookieValue(request, 'a'), cookieValue(request, 'id')]).toEqual([
      '2=3',
      '1',
      undefined,
    ]);
  });
});
