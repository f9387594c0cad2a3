import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { SessionPersistence } from '../../mesh/model/routing.ts';
import type { ServiceKey } from '../../mesh/model/service.ts';
import type { WorkloadUid } from '../../mesh/model/workload.ts';
import { makeBackend, makeHead } from './testing/route-fixture.ts';
import {
  decodeSession,
  encodeSession,
  findSession,
  type Session,
  sessionBackend,
  sessionHeader,
} from './session-persistence.ts';

const persistence = (parts: Partial<SessionPersistence> = {}): SessionPersistence => ({
  kind: 'cookie',
  name: 'sticky',
  absoluteTimeoutMs: undefined,
  permanent: false,
  idleTimeoutMs: undefined,
  ...parts,
});

const served = {
  service: 'shop/cart.shop.svc.cluster.local' as ServiceKey,
  port: 80,
  endpoint: 'cluster//Pod/shop/cart-1' as WorkloadUid,
};
const now = 1_800_000_000_000;
const options = { previous: undefined, nowMs: now, cookiePath: '/foo', secure: false };

/** Plays the client: what it sends after it got the header. */
function sentBack(settings: SessionPersistence, header: readonly [string, string] | undefined) {
  if (header === undefined) throw new Error('No header');
  const [name, value] = header;
  return makeHead('/', {
    headers: [settings.kind === 'header' ? [name, value] : ['cookie', `a=1; ${value.split(';')[0]}; b=2`]],
  });
}

describe('a token', () => {
  const session: fc.Arbitrary<Session> = fc.record({
    service: fc
      .string({ unit: 'grapheme-ascii', minLength: 1, maxLength: 60 })
      .map((text) => text as ServiceKey),
    port: fc.integer({ min: 1, max: 65_535 }),
    endpoint: fc
      .string({ unit: fc.constantFrom('a', '/', 'ü', '-'), minLength: 1, maxLength: 80 })
      .map((text) => text as WorkloadUid),
    expiresAtMs: fc.option(fc.nat(), { nil: undefined }),
    idleUntilMs: fc.option(fc.nat(), { nil: undefined }),
  });

  test('decodes to what was encoded, and fits a cookie', () => {
    fc.assert(
      fc.property(session, (known) => {
        const text = encodeSession(known);
        expect(text).toMatch(/^[A-Za-z0-9_-]+$/);
        expect(decodeSession(text)).toEqual(known);
      }),
    );
  });

  test('of any other text is none, and nothing throws', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.string().map((text) => Buffer.from(text).toString('base64url')),
        ),
        (text) => {
          const decoded = decodeSession(text);
          if (decoded !== undefined) expect(encodeSession(decoded)).toBeTypeOf('string');
        },
      ),
    );
    const encode = (fields: string[]) => Buffer.from(fields.join('\n')).toString('base64url');
    expect(decodeSession(encode(['1', '', '', 'a', '80', 'b']))).toBeDefined();
    for (const fields of [
      ['2', '', '', 'a', '80', 'b'],
      ['1', 'x', '', 'a', '80', 'b'],
      ['1', '', '-1', 'a', '80', 'b'],
      ['1', '', '', 'a', '', 'b'],
      ['1', '', '', '', '80', 'b'],
      ['1', '', '', 'a', '80', ''],
      ['1', '', '', 'a', '80', 'b', 'c'],
    ]) {
      expect(decodeSession(encode(fields))).toBeUndefined();
    }
    expect(decodeSession('A'.repeat(1_025))).toBeUndefined();
  });
});

describe('a session', () => {
  test.each(['cookie', 'header'] as const)('kept in a %s is found again and not handed out twice', (kind) => {
    const settings = persistence({ kind, name: 'Sticky' });
    const header = sessionHeader(settings, served, options);
    const found = findSession(settings, sentBack(settings, header), now + 1);
    expect(found).toMatchObject(served);
    expect(sessionHeader(settings, served, { ...options, previous: found })).toBeUndefined();
  });

  test('in a browser session has a cookie without an end of its own, of the route path', () => {
    const [name, value] = sessionHeader(persistence({ absoluteTimeoutMs: 60_000 }), served, options) ?? [];
    expect(name).toBe('set-cookie');
    expect(value).toMatch(/^sticky=[\w-]+; Path=\/foo; HttpOnly; SameSite=Strict$/);
  });

  test('that is permanent has a cookie that lasts until the absolute timeout', () => {
    const settings = persistence({ absoluteTimeoutMs: 3_600_000, permanent: true });
    expect(sessionHeader(settings, served, { ...options, secure: true })?.[1]).toMatch(
      /; Path=\/foo; Max-Age=3600; HttpOnly; SameSite=Strict; Secure$/,
    );
  });

  test('ends at its absolute timeout, whatever the client keeps', () => {
    const settings = persistence({ absoluteTimeoutMs: 1_000 });
    const head = sentBack(settings, sessionHeader(settings, served, options));
    expect(findSession(settings, head, now + 999)).toBeDefined();
    expect(findSession(settings, head, now + 1_000)).toBeUndefined();
  });

  test('can not be made longer by the client, nor by a route that got stricter', () => {
    const settings = persistence({ absoluteTimeoutMs: 1_000 });
    const endless = sentBack(settings, sessionHeader(persistence(), served, options));
    const long = sentBack(
      settings,
      sessionHeader(persistence({ absoluteTimeoutMs: 9_999 }), served, options),
    );
    expect(findSession(settings, endless, now)).toBeUndefined();
    expect(findSession(settings, long, now)).toBeUndefined();
  });

  test('with an idle timeout is renewed by use, within the absolute one', () => {
    const settings = persistence({ absoluteTimeoutMs: 1_500, idleTimeoutMs: 1_000 });
    const first = sentBack(settings, sessionHeader(settings, served, options));
    expect(findSession(settings, first, now + 1_000)).toBeUndefined();
    const previous = findSession(settings, first, now + 900);
    const renewed = sentBack(
      settings,
      sessionHeader(settings, served, { ...options, previous, nowMs: now + 900 }),
    );
    expect(findSession(settings, renewed, now + 1_400)).toBeDefined();
    expect(findSession(settings, renewed, now + 1_500)).toBeUndefined();
  });

  test('that moved to another endpoint begins anew', () => {
    const settings = persistence({ absoluteTimeoutMs: 1_000 });
    const previous = findSession(
      settings,
      sentBack(settings, sessionHeader(settings, served, options)),
      now + 500,
    );
    const moved = { ...served, endpoint: 'cluster//Pod/shop/cart-2' as WorkloadUid };
    const head = sentBack(
      settings,
      sessionHeader(settings, moved, { ...options, previous, nowMs: now + 500 }),
    );
    expect(findSession(settings, head, now + 1_400)).toMatchObject(moved);
  });

  test('is found among several cookies of the name, and not in others', () => {
    const settings = persistence();
    const value = sessionHeader(settings, served, options)?.[1].split(';')[0] as string;
    const found = (cookie: string) =>
      findSession(settings, makeHead('/', { headers: [['cookie', cookie]] }), now);
    expect(found(`sticky=stale; ${value}`)).toMatchObject(served);
    expect(found(`x${value}`)).toBeUndefined();
    expect(found(`x=${value}`)).toBeUndefined();
    expect(findSession(settings, makeHead('/'), now)).toBeUndefined();
  });
});

test('sessionBackend() finds the backend even at weight 0, and not one that is gone', () => {
  const backends = [makeBackend(1, 'shop/other', 80), makeBackend(0, served.service, 80)];
  expect(sessionBackend(backends, served)).toBe(1);
  expect(sessionBackend(backends, { ...served, port: 81 })).toBe(-1);
  expect(sessionBackend([], served)).toBe(-1);
});
