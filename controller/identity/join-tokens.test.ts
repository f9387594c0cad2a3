import { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import { ManualClock } from '../../mesh/runtime/clock.ts';
import { formatJoinToken, parseJoinToken, randomJoinToken } from './join-token.ts';
import { bearerName, JoinTokens } from './join-tokens.ts';

let stateDir: string;
let clock: ManualClock;
let tokens: JoinTokens;

beforeEach(async () => {
  stateDir = await mkdtemp(join(tmpdir(), 'weft-tokens-'));
  clock = new ManualClock();
  tokens = new JoinTokens({ stateDir, clock });
  return () => rm(stateDir, { recursive: true });
});

function bearer(token: string): string {
  return `Bearer ${token}`;
}

function pathOf(id: string): string {
  return join(stateDir, 'tokens', `${id}.json`);
}

describe('create()', () => {
  it('keeps the hash only, in a file for its owner only', async () => {
    const { token, record } = await tokens.create('node-1');
    const [, , secret = ''] = token.split('.');
    expect((await stat(pathOf(record.id))).mode & 0o777).toBe(0o600);
    expect((await stat(join(stateDir, 'tokens'))).mode & 0o777).toBe(0o700);
    const text = await readFile(pathOf(record.id), 'utf8');
    expect(secret).toHaveLength(43);
    expect(text).not.toContain(secret);
    expect(text).not.toContain(Buffer.from(secret, 'base64url').toString('hex'));
  });

  it('makes a token that lives for a year, or as long as asked', async () => {
    const year = 365 * 86_400_000;
    expect((await tokens.create('node-1')).record.expiresAt).toBe(clock.now() + year);
    expect((await tokens.create('node-1', { lifeSeconds: 60 })).record.expiresAt).toBe(clock.now() + 60_000);
  });

  it.each(['', 'Node', 'a_b', '-a', 'a..b', '../x', 'a/b', 'a'.repeat(64), `${'a.'.repeat(127)}ab`])(
    'refuses the node name "%s"',
    async (node) => {
      await expect(tokens.create(node)).rejects.toThrow('is not a DNS name');
      expect(await readdir(stateDir)).toEqual([]);
    },
  );

  it.each(['', 'gate', 'shop/', '/gate', 'shop/gate/x', 'Shop/gate', '../gate', `shop/${'a'.repeat(64)}`])(
    'refuses the waypoint "%s"',
    async (gateway) => {
      await expect(tokens.createForWaypoint(gateway)).rejects.toThrow('is not a namespace and a name');
      expect(await readdir(stateDir)).toEqual([]);
    },
  );

  it.each([0, -1, Number.NaN, 1e10])('refuses a life of %d s', async (lifeSeconds) => {
    await expect(tokens.create('node-1', { lifeSeconds })).rejects.toThrow(RangeError);
  });
});

describe('authenticate()', () => {
  it('binds the bearer to the node of the token', async () => {
    const one = await tokens.create('node-1');
    const two = await tokens.create('node-2.example');
    expect(await tokens.authenticate(bearer(one.token))).toEqual({
      ok: true,
      caller: { kind: 'node', node: 'node-1', tokenId: one.record.id },
    });
    expect(await tokens.authenticate(bearer(two.token))).toMatchObject({
      caller: { node: 'node-2.example' },
    });
  });

  it('makes the bearer of a waypoint token that waypoint, and no node', async () => {
    const { token, record } = await tokens.createForWaypoint('shop/gate', { lifeSeconds: 60 });
    expect(await tokens.authenticate(bearer(token))).toEqual({
      ok: true,
      caller: { kind: 'waypoint', gateway: 'shop/gate', tokenId: record.id },
    });
    clock.advance(60_000);
    expect(await tokens.authenticate(bearer(token))).toMatchObject({
      ok: false,
      reason: expect.stringContaining('of waypoint "shop/gate" expired at'),
    });
  });

  it('knows a token after a restart', async () => {
    const { token } = await tokens.create('node-1');
    expect(await new JoinTokens({ stateDir, clock }).authenticate(bearer(token))).toMatchObject({ ok: true });
  });

  it('refuses the id of one token with the secret of another', async () => {
    const one = await tokens.create('node-1');
    const two = await tokens.create('node-2');
    const mixed = formatJoinToken({
      id: one.record.id,
      secret: parseJoinToken(two.token)?.secret ?? Buffer.alloc(32),
    });
    expect(await tokens.authenticate(bearer(mixed))).toMatchObject({ ok: false, code: 'token-wrong' });
  });

  it('refuses an expired token and names its node', async () => {
    const { token } = await tokens.create('node-1', { lifeSeconds: 60 });
    clock.advance(59_999);
    expect(await tokens.authenticate(bearer(token))).toMatchObject({ ok: true });
    clock.advance(1);
    expect(await tokens.authenticate(bearer(token))).toMatchObject({
      ok: false,
      code: 'token-expired',
      reason: expect.stringContaining('"node-1" expired at'),
    });
  });

  it('refuses a revoked token at once, also when another process revoked it', async () => {
    const { token, record } = await tokens.create('node-1');
    expect(await new JoinTokens({ stateDir, clock }).revoke(record.id)).toBe(true);
    expect(await tokens.authenticate(bearer(token))).toMatchObject({ ok: false, code: 'token-unknown' });
    expect(await tokens.revoke(record.id)).toBe(false);
  });

  it.each([undefined, ''])('refuses a call without a token: %s', async (authorization) => {
    expect(await tokens.authenticate(authorization)).toMatchObject({ ok: false, code: 'token-missing' });
  });

  it('refuses a token nobody made, before there is any', async () => {
    const token = formatJoinToken(randomJoinToken());
    expect(await tokens.authenticate(bearer(token))).toMatchObject({ ok: false, code: 'token-unknown' });
  });

  it('refuses a token whose record others could have written', async () => {
    const { token, record } = await tokens.create('node-1');
    await chmod(pathOf(record.id), 0o666);
    expect(await tokens.authenticate(bearer(token))).toMatchObject({
      ok: false,
      code: 'token-record-unusable',
    });
  });

  it.each(['', '{}', 'null', '{"version":1,"id":"0000000000000000"}'])(
    'refuses a token whose record is "%s"',
    async (text) => {
      const { token, record } = await tokens.create('node-1');
      await writeFile(pathOf(record.id), text);
      expect(await tokens.authenticate(bearer(token))).toMatchObject({
        ok: false,
        code: 'token-record-unusable',
      });
    },
  );

  it('refuses a record that was copied to the id of another', async () => {
    const one = await tokens.create('node-1');
    const two = await tokens.create('node-2');
    await writeFile(pathOf(two.record.id), await readFile(pathOf(one.record.id)));
    expect(await tokens.authenticate(bearer(two.token))).toMatchObject({ code: 'token-record-unusable' });
  });

  it('never throws and never repeats a secret, whatever is sent', async () => {
    const { token } = await tokens.create('node-1');
    const [head, id, secret = ''] = token.split('.');
    const part = fc.oneof(fc.string(), fc.constantFrom(head, id, secret, '.', 'Bearer ', '../..', 'weft1'));
    await fc.assert(
      fc.asyncProperty(fc.array(part, { maxLength: 6 }), async (parts) => {
        const authorization = parts.join('');
        const result = await tokens.authenticate(authorization);
        expect(result.ok && authorization !== bearer(token)).toBe(false);
        expect(JSON.stringify(result)).not.toContain(secret);
      }),
      { numRuns: 300 },
    );
  });
});

describe('list()', () => {
  it('is empty before the first token', async () => {
    expect(await tokens.list()).toEqual({ tokens: [], unusable: [] });
  });

  it('shows records by node and then by waypoint, without secrets, and files that are no records', async () => {
    await tokens.createForWaypoint('shop/gate');
    await tokens.create('node-2');
    clock.advance(5);
    const last = await tokens.create('node-1');
    await writeFile(join(stateDir, 'tokens', 'junk.json'), '{}', { mode: 0o600 });
    const list = await tokens.list();
    expect(list.tokens.map(({ bearer }) => bearerName(bearer))).toEqual(['node-1', 'node-2', 'shop/gate']);
    expect(list.tokens[0]).toEqual(last.record);
    expect(list.unusable).toEqual([join(stateDir, 'tokens', 'junk.json')]);
  });
});

it('revoke() leaves files outside of its directory alone', async () => {
  await writeFile(join(stateDir, 'ca.json'), 'kept');
  expect(await tokens.revoke('../ca')).toBe(false);
  expect(await readFile(join(stateDir, 'ca.json'), 'utf8')).toBe('kept');
});
