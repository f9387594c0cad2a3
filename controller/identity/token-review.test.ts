import { describe, expect, it } from 'vitest';
import type { GatewayKey } from '../../mesh/model/routing.ts';
import { ManualClock } from '../../mesh/runtime/clock.ts';
import { createLogger } from '../../mesh/runtime/logger.ts';
import { KubeError } from '../kubernetes/kube-error.ts';
import { formatJoinToken, randomJoinToken } from './join-token.ts';
import { firstOf, TokenReviewer, type WaypointPod } from './token-review.ts';

const logger = createLogger({ component: 'test', level: 'silent' });
const lifeMs = 3_600_000;

function jwt(claims: object): string {
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  return `Bearer ${part({ alg: 'none' })}.${part(claims)}.signature`;
}

interface Status {
  authenticated?: boolean;
  audiences?: string[];
  user?: { username: string; extra?: Record<string, string[]> };
  error?: string;
}

const extra = {
  'authentication.kubernetes.io/node-name': ['node-1'],
  'authentication.kubernetes.io/pod-name': ['ztunnel-1'],
};
const good: Status = {
  authenticated: true,
  audiences: ['weft'],
  user: { username: 'system:serviceaccount:weft-system:weft-ztunnel', extra },
};

/** A reviewer whose API server answers `status`, and counts how often it is asked. */
function reviewer(status: Status = good) {
  const clock = new ManualClock();
  const api = { status, away: false, asked: 0 };
  const client = {
    request: async <T>(): Promise<T> => {
      api.asked += 1;
      if (api.away) throw new KubeError('UNREACHABLE', 'away');
      return { status: api.status } as T;
    },
  };
  const nodeAccounts = new Set(['weft-system/weft-ztunnel']);
  const gateways = new Map<string, string>();
  const waypoints = {
    gatewayOf: ({ namespace, name, serviceAccount }: WaypointPod) =>
      gateways.get(`${namespace} ${name} ${serviceAccount}`) as GatewayKey | undefined,
  };
  const tokens = new TokenReviewer({ client, clock, logger, nodeAccounts, waypoints, maxCached: 3 });
  const token = jwt({ aud: ['weft'], exp: (clock.now() + lifeMs) / 1_000 });
  return { clock, api, tokens, token, gateways };
}

describe('TokenReviewer', () => {
  it('takes the node from what the API server says of the token', async () => {
    const { tokens, token } = reviewer();
    const caller = { kind: 'node', node: 'node-1', tokenId: 'weft-system/weft-ztunnel/ztunnel-1' };
    expect(await tokens.authenticate(token)).toEqual({ ok: true, caller });
  });

  it('makes a pod of a waypoint that waypoint, as soon as the mesh has it and no longer', async () => {
    const user = {
      username: 'system:serviceaccount:shop:gate',
      extra: { 'authentication.kubernetes.io/pod-name': ['gate-7'] },
    };
    const { tokens, token, gateways, api } = reviewer({ ...good, user });
    const refused = { ok: false, code: 'token-wrong', reason: expect.stringContaining('pod "gate-7"') };
    expect(await tokens.authenticate(token)).toMatchObject(refused);
    gateways.set('shop gate-7 gate', 'shop/gate');
    expect(await tokens.authenticate(token)).toEqual({
      ok: true,
      caller: { kind: 'waypoint', gateway: 'shop/gate', tokenId: 'shop/gate/gate-7' },
    });
    gateways.clear();
    expect(await tokens.authenticate(token)).toMatchObject(refused);
    expect(api.asked).toBe(1);
  });

  it("takes tokens that Istio's node tunnels bring", async () => {
    const { tokens, clock } = reviewer({ ...good, audiences: ['istio-ca'] });
    const token = jwt({ aud: 'istio-ca', exp: (clock.now() + lifeMs) / 1_000 });
    expect(await tokens.authenticate(token)).toMatchObject({ ok: true, caller: { node: 'node-1' } });
  });

  it('asks once for many calls, again after minutes, and never for an expired token', async () => {
    const { tokens, token, api, clock } = reviewer();
    await Promise.all([1, 2, 3].map(() => tokens.authenticate(token)));
    await tokens.authenticate(token);
    expect(api.asked).toBe(1);
    clock.advance(300_001);
    await tokens.authenticate(token);
    expect(api.asked).toBe(2);
    clock.advance(lifeMs);
    expect(await tokens.authenticate(token)).toMatchObject({ ok: false, code: 'token-expired' });
    expect(api.asked).toBe(2);
  });

  it.each<[string, Status, string]>([
    ['the API server refuses', { authenticated: false, error: 'expired' }, 'token-unknown'],
    ['was reviewed for no audience', { ...good, audiences: [] }, 'token-wrong'],
    ['is a user', { ...good, user: { username: 'admin', extra } }, 'token-unknown'],
    [
      'is of another service account',
      { ...good, user: { username: 'system:serviceaccount:shop:web', extra } },
      'token-wrong',
    ],
    ['is bound to no node', { ...good, user: { username: good.user?.username ?? '' } }, 'token-wrong'],
    ['got an answer that says nothing', {}, 'token-unknown'],
  ])('refuses a token that %s', async (_what, status, code) => {
    const { tokens, token } = reviewer(status);
    expect(await tokens.authenticate(token)).toMatchObject({ ok: false, code });
  });

  it.each([
    ['nothing', undefined, 'token-missing'],
    ['what has no three parts', 'Bearer weft.token', 'token-malformed'],
    ['claims that are no JSON', 'Bearer a.b.c', 'token-malformed'],
    ['another audience', jwt({ aud: 'kubernetes', exp: 4_000_000_000 }), 'token-wrong'],
    ['more than a token can have', `Bearer a.${'b'.repeat(20_000)}.c`, 'token-malformed'],
  ])('refuses %s without asking', async (_what, authorization, code) => {
    const { tokens, api } = reviewer();
    expect(await tokens.authenticate(authorization)).toMatchObject({ ok: false, code });
    expect(api.asked).toBe(0);
  });

  it('goes by its last answer while the API server is away, and calls it our trouble where there is none', async () => {
    const { tokens, token, api, clock } = reviewer();
    await tokens.authenticate(token);
    api.away = true;
    clock.advance(600_000);
    expect(await tokens.authenticate(token)).toMatchObject({ ok: true });
    const other = jwt({ aud: ['weft'], exp: (clock.now() + lifeMs) / 1_000, sub: 'other' });
    expect(await tokens.authenticate(other)).toMatchObject({ ok: false, code: 'token-record-unusable' });
  });

  it('keeps a bounded number of answers', async () => {
    const { tokens, api, clock } = reviewer();
    const numbered = (i: number) => jwt({ aud: ['weft'], exp: (clock.now() + lifeMs) / 1_000, i });
    for (let i = 0; i < 5; i++) await tokens.authenticate(numbered(i));
    await tokens.authenticate(numbered(4));
    expect(api.asked).toBe(5);
    await tokens.authenticate(numbered(0));
    expect(api.asked).toBe(6);
  });
});

describe('firstOf()', () => {
  it('sends each kind of token to whom it belongs', async () => {
    const named = (name: string) => ({
      authenticate: () =>
        Promise.resolve({ ok: true as const, caller: { kind: 'node' as const, node: name, tokenId: name } }),
    });
    const both = firstOf(named('join'), named('review'));
    const joinToken = `Bearer ${formatJoinToken(randomJoinToken())}`;
    expect(await both.authenticate(joinToken)).toMatchObject({ caller: { node: 'join' } });
    expect(await both.authenticate('Bearer nonsense')).toMatchObject({ caller: { node: 'join' } });
    expect(await both.authenticate(undefined)).toMatchObject({ caller: { node: 'join' } });
    expect(await both.authenticate(jwt({}))).toMatchObject({ caller: { node: 'review' } });
  });
});
