// Real keys, a real server on loopback, a clock that is moved by hand.

import { base64url, SignJWT } from 'jose';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ManualClock } from '../../mesh/runtime/clock.ts';
import type { JwksError } from './jwks-error.ts';
import { fetchText } from './jwks-fetch.ts';
import { JwksServer, keySetOf, makeKey, sign, type TestKey } from './testing/issuer.ts';
import type { TokenResult, TokenRule } from './token-job.ts';
import { TokenVerifier } from './token-verifier.ts';

const issuer = 'https://issuer.test';
const start = 1_700_000_000;

function inline(...keys: TestKey[]): TokenRule {
  return { issuer, audiences: [], keys: { kind: 'inline', jwks: keySetOf(...keys) } };
}

function world() {
  const clock = new ManualClock(start * 1000);
  const fetches: (string | undefined)[] = [];
  const onFetch = (_url: string, error: JwksError | undefined): number => fetches.push(error?.code);
  const verifier = new TokenVerifier({
    clock,
    onFetch,
    fetchText: (url) => fetchText(url, { timeoutMs: 300, maxBytes: 10_000 }),
  });
  const verify = async (token: string, ...rules: TokenRule[]): Promise<TokenResult> =>
    (await verifier.verify({ id: 7, token, rules })).result;
  return { clock, fetches, verify };
}

function byUrl(url: string): TokenRule {
  return { issuer, audiences: [], keys: { kind: 'url', url } };
}

const claims = { iss: issuer, sub: 'ann', exp: start + 100 };

describe('TokenVerifier.verify()', () => {
  it.each(['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA'])(
    'takes %s',
    async (alg) => {
      const key = await makeKey('k', alg);
      const result = await world().verify(await sign(key, claims), inline(key));
      expect(result).toEqual({ kind: 'valid', rule: 0, claims, expiresAt: (start + 160) * 1000 });
    },
  );

  it('refuses secrets, none, and a public key that is used as a secret', async () => {
    const rsa = await makeKey('k', 'RS256');
    const { verify } = world();
    const secret = new TextEncoder().encode('x'.repeat(32));
    const hs = (bytes: Uint8Array): Promise<string> =>
      new SignJWT(claims).setProtectedHeader({ alg: 'HS256', kid: 'k' }).sign(bytes);
    const oct = { ...rsa, jwk: { kty: 'oct', kid: 'k', k: base64url.encode(secret) } };
    const refused = { kind: 'invalid', reason: 'The algorithm of the token is not allowed' };
    expect(await verify(await hs(secret), inline(oct))).toMatchObject(refused);
    const publicText = new TextEncoder().encode(JSON.stringify(rsa.jwk));
    expect(await verify(await hs(publicText), inline(rsa))).toMatchObject(refused);
    const body = base64url.encode(JSON.stringify(claims));
    const none = `${base64url.encode(JSON.stringify({ alg: 'none' }))}.${body}.`;
    expect(await verify(none, inline(rsa))).toMatchObject({ kind: 'invalid' });
  });

  it('refuses a signature by another key of the same name, and a changed payload', async () => {
    const [key, other] = [await makeKey('k'), await makeKey('k')];
    const { verify } = world();
    const wrong = { kind: 'invalid', reason: 'The signature of the token is wrong', lasting: true };
    expect(await verify(await sign(other, claims), inline(key))).toEqual(wrong);
    const [head, , signature] = (await sign(key, claims)).split('.');
    const payload = base64url.encode(JSON.stringify({ ...claims, sub: 'bob' }));
    expect(await verify(`${head}.${payload}.${signature}`, inline(key))).toEqual(wrong);
  });

  it('looks at times with a tolerance of a minute', async () => {
    const key = await makeKey('k');
    const { verify } = world();
    const at = async (times: object) => verify(await sign(key, { iss: issuer, ...times }), inline(key));
    expect(await at({ exp: start - 59 })).toMatchObject({ kind: 'valid' });
    expect(await at({ exp: start - 61 })).toMatchObject({ reason: 'The token has expired' });
    expect(await at({ nbf: start + 59 })).toMatchObject({ kind: 'valid', expiresAt: undefined });
    expect(await at({ nbf: start + 61 })).toMatchObject({
      reason: 'The token is not valid yet',
      lasting: false,
    });
  });

  it('wants one of the audiences', async () => {
    const key = await makeKey('k');
    const rule = { ...inline(key), audiences: ['a', 'b'] };
    const { verify } = world();
    const at = async (aud?: string | string[]) =>
      verify(await sign(key, { ...claims, ...(aud && { aud }) }), rule);
    expect(await at('b')).toMatchObject({ kind: 'valid' });
    expect(await at(['x', 'a'])).toMatchObject({ kind: 'valid' });
    expect(await at('x')).toMatchObject({ reason: 'The token is for another audience' });
    expect(await at()).toMatchObject({ reason: 'The token is for another audience' });
  });

  it('goes by the rule of the issuer, and by the next one of the same issuer', async () => {
    const [a, b] = [await makeKey('a'), await makeKey('b')];
    const { verify } = world();
    const rules = [{ ...inline(b), issuer: 'other' }, inline(b), inline(a)];
    expect(await verify(await sign(a, claims), ...rules)).toMatchObject({ kind: 'valid', rule: 2 });
    const unknown = await sign(a, { iss: 'nobody' });
    expect(await verify(unknown, ...rules)).toMatchObject({ reason: 'The issuer of the token is not known' });
  });

  it('tries every key that fits a token without a key id', async () => {
    const [a, b] = [await makeKey('a'), await makeKey('b')];
    const token = await sign(b, claims, { kid: undefined });
    expect(await world().verify(token, inline(a, b))).toMatchObject({ kind: 'valid' });
    const other = await sign(await makeKey('c'), claims, { kid: undefined });
    expect(await world().verify(other, inline(a, b))).toMatchObject({ kind: 'invalid' });
  });

  it('never rejects, whatever the token', async () => {
    const key = await makeKey('k');
    const { verify } = world();
    const rule = inline(key);
    const part = fc.oneof(
      fc.string(),
      fc.base64String(),
      fc.json().map((json) => base64url.encode(json)),
      fc
        .constantFrom({ alg: 'ES256' }, { alg: 'ES256', kid: 'k', crit: ['b64'], b64: false }, claims)
        .map((json) => base64url.encode(JSON.stringify(json))),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(part, { maxLength: 4 }), async (parts) => {
        expect((await verify(parts.join('.'), rule)).kind).toBe('invalid');
      }),
      { numRuns: 500 },
    );
  });
});

describe('keys by URL', () => {
  it('are fetched once, and again in the background when they are old', async () => {
    const key = await makeKey('k');
    await using server = await JwksServer.start(keySetOf(key));
    const { verify, clock } = world();
    const token = await sign(key, { iss: issuer });
    await Promise.all(Array.from({ length: 20 }, () => verify(token, byUrl(server.url))));
    expect(server.requests).toBe(1);
    clock.advance(299_000);
    expect(await verify(token, byUrl(server.url))).toMatchObject({ kind: 'valid' });
    expect(server.requests).toBe(1);
    const asked = new Promise<void>((resolve) => {
      server.answer = (response) => {
        response.end(keySetOf(key));
        resolve();
      };
    });
    clock.advance(2_000);
    expect(await verify(token, byUrl(server.url))).toMatchObject({ kind: 'valid' });
    await asked;
    expect(server.requests).toBe(2);
  });

  it('are fetched again when a token names a new one, and not more often than every ten seconds', async () => {
    const [old, fresh, forged] = [await makeKey('old'), await makeKey('new'), await makeKey('forged')];
    await using server = await JwksServer.start(keySetOf(old));
    const { verify, clock } = world();
    const rule = byUrl(server.url);
    expect(await verify(await sign(old, claims), rule)).toMatchObject({ kind: 'valid' });
    server.serve(keySetOf(old, fresh));
    expect(await verify(await sign(fresh, claims), rule)).toMatchObject({ kind: 'valid' });
    expect(server.requests).toBe(2);
    const unknown = { kind: 'invalid', reason: 'The key of the token is not known', lasting: false };
    for (let i = 0; i < 5; i++) expect(await verify(await sign(forged, claims), rule)).toEqual(unknown);
    expect(server.requests).toBe(2);
    clock.advance(10_000);
    expect(await verify(await sign(forged, claims), rule)).toEqual(unknown);
    expect(server.requests).toBe(3);
  });

  it('go on to count for an hour while the server is down, and then no more', async () => {
    const key = await makeKey('k');
    await using server = await JwksServer.start(keySetOf(key));
    const { verify, clock, fetches } = world();
    const token = await sign(key, { iss: issuer });
    await verify(token, byUrl(server.url));
    server.answer = (response) => response.writeHead(500).end();
    clock.advance(3_599_000);
    expect(await verify(token, byUrl(server.url))).toMatchObject({ kind: 'valid' });
    clock.advance(60_000);
    expect(await verify(token, byUrl(server.url))).toMatchObject({ kind: 'unavailable' });
    expect(fetches).toContain('status');
    server.serve(keySetOf(key));
    clock.advance(60_000);
    expect(await verify(token, byUrl(server.url))).toMatchObject({ kind: 'valid' });
  });

  it('that can not be had are not asked for by every request', async () => {
    const key = await makeKey('k');
    await using server = await JwksServer.start('');
    server.answer = (response) => response.destroy();
    const { verify, clock, fetches } = world();
    const token = await sign(key, claims);
    const unavailable = { kind: 'unavailable', reason: 'The keys of the issuer can not be had' };
    for (let i = 0; i < 5; i++) expect(await verify(token, byUrl(server.url))).toEqual(unavailable);
    expect([server.requests, fetches]).toEqual([1, ['unreachable']]);
    clock.advance(1_000);
    await verify(token, byUrl(server.url));
    clock.advance(1_000);
    await verify(token, byUrl(server.url));
    expect(server.requests).toBe(2);
  });

  it.each<[string, (server: JwksServer) => void, string]>([
    ['a server that never answers', (server) => (server.answer = () => {}), 'unreachable'],
    [
      'a server that stops in the middle',
      (server) => (server.answer = (response) => void response.writeHead(200).write('{"keys":')),
      'unreachable',
    ],
    ['a huge answer', (server) => server.serve(`{"keys":[${' '.repeat(20_000)}]}`), 'too-large'],
    [
      'a redirect',
      (server) => (server.answer = (r) => r.writeHead(302, { location: '/x' }).end()),
      'unreachable',
    ],
    ['no key set', (server) => server.serve('[]'), 'malformed'],
    ['no JSON', (server) => server.serve('<html>'), 'malformed'],
    ['not found', (server) => (server.answer = (response) => response.writeHead(404).end()), 'status'],
  ])('%s: unavailable', async (_title, break_, code) => {
    const key = await makeKey('k');
    await using server = await JwksServer.start(keySetOf(key));
    break_(server);
    const { verify, fetches } = world();
    expect(await verify(await sign(key, claims), byUrl(server.url))).toMatchObject({ kind: 'unavailable' });
    expect(fetches).toEqual([code]);
  });

  it.each(['file:///etc/passwd', 'ftp://127.0.0.1/', 'nonsense', 'http://user:secret@127.0.0.1:1/'])(
    'refuses to fetch %s',
    async (url) => {
      const { verify, fetches } = world();
      const token = await sign(await makeKey('k'), claims);
      expect(await verify(token, byUrl(url))).toMatchObject({ kind: 'unavailable' });
      expect(fetches).toEqual(['url-refused']);
    },
  );
});
