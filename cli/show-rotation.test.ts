// The commands against a real controller's admin endpoint on loopback.

import { mkdir, mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { AdminServer } from '../controller/admin-server.ts';
import { adminSecretPath, openAdminSecret } from '../controller/admin-secret.ts';
import { CertificateAuthority } from '../controller/ca/certificate-authority.ts';
import { ManualClock } from '../mesh/runtime/clock.ts';
import { createLogger } from '../mesh/runtime/logger.ts';
import { emptyModel } from '../mesh/model/model.ts';
import { createCsr } from '../mesh/tls/csr.ts';
import { runCli } from './run-cli.ts';

const clock = new ManualClock(1_800_000_000_000);
const identity = { trustDomain: 'td', namespace: 'a', serviceAccount: 'b' };
let state: string;
let authority: CertificateAuthority;
let server: AdminServer;
let admin: string;

beforeEach(async () => {
  state = await mkdtemp(join(tmpdir(), 'weft-ca-'));
  const logger = createLogger({ component: 'test', level: 'silent' });
  authority = await CertificateAuthority.open({ stateDir: state, clock, logger });
  const secret = await openAdminSecret(state);
  server = new AdminServer({
    ready: () => true,
    metrics: () => Promise.reject(new Error('not asked for')),
    model: () => emptyModel,
    statuses: () => [],
    problems: () => [],
    nodes: () => [],
    nodesPage: () => {
      throw new Error('not asked for');
    },
    certificates: () => authority.rotation(),
    cluster: () => undefined,
    secret: () => secret,
    rotate: (step) =>
      step === 'start' ? authority.startRotation() : authority.advanceRotation({ force: step === 'force' }),
  });
  admin = `http://127.0.0.1:${await server.listen('127.0.0.1:0')}`;
});

afterEach(async () => {
  await server.close();
  authority.close();
  await rm(state, { recursive: true });
});

async function ca(...argv: string[]): Promise<{ status: number; out: string; err: string }> {
  const said = { out: '', err: '' };
  const own = argv[0] === 'rotate' && !argv.includes('--state') ? ['--state', state] : [];
  const status = await runCli(['ca', ...argv, '--admin', admin, ...own], {
    out: (text) => {
      said.out += text;
    },
    err: (text) => {
      said.err += text;
    },
  });
  return { status, ...said };
}

test('ca status says that no rotation is under way, and who signs', async () => {
  const [root] = authority.rotation().trusted;
  expect(await ca('status')).toEqual({
    status: 0,
    out: `step        stable: no rotation is under way\nsigns       ${root}\ntrusted     ${root}\n`,
    err: '',
  });
});

test('ca rotate begins, waits for certificates in use, and goes through when it breaks nobody', async () => {
  await authority.sign((await createCsr(identity)).csrPem, { identity });
  const [old] = authority.rotation().trusted;
  const begun = await ca('rotate');
  expect(begun).toMatchObject({ status: 0, out: expect.stringContaining('step        prepare') });
  expect(begun.out).toMatch(/next step {3}2027-01-\d\dT/);
  expect(await ca('rotate')).toMatchObject({ status: 1, err: expect.stringContaining('one is at the step') });
  const early = await ca('rotate', '--step');
  expect(early).toMatchObject({ status: 1, err: expect.stringContaining('are valid until') });
  expect(authority.rotation().phase).toBe('prepare');
  const stepped = new Promise<void>((resolve) => authority.subscribe(resolve));
  clock.advance(2 * 86_400_000);
  await stepped;
  expect(authority.rotation().signing).not.toBe(old);
});

test('ca rotate --force takes each step at once', async () => {
  await authority.sign((await createCsr(identity)).csrPem, { identity });
  const [old] = authority.rotation().trusted;
  await ca('rotate');
  expect(await ca('rotate', '--force')).toMatchObject({ status: 0, out: expect.stringContaining('active') });
  await authority.sign((await createCsr(identity)).csrPem, { identity });
  expect(await ca('rotate', '--force')).toMatchObject({ status: 0, out: expect.stringContaining('stable') });
  expect(authority.rotation().trusted).not.toContain(old);
});

test('ca rotate needs the secret of the state directory, which only its owner can read', async () => {
  expect((await stat(adminSecretPath(state))).mode & 0o777).toBe(0o600);
  const post = (authorization?: string) =>
    fetch(`${admin}/ca/rotation/start`, {
      method: 'POST',
      ...(authorization !== undefined && { headers: { authorization } }),
    });
  for (const wrong of [undefined, '', 'Bearer ', 'Bearer x', `Bearer ${'0'.repeat(64)}`]) {
    expect((await post(wrong)).status).toBe(403);
  }
  expect((await fetch(`${admin}/ca/rotation/start`)).status).toBe(404);
  expect((await fetch(`${admin}/elsewhere`, { method: 'POST' })).status).toBe(404);
  expect(authority.rotation().phase).toBe('stable');
});

test('ca rotate says what is wrong with another directory, and when no controller runs', async () => {
  const empty = join(state, 'empty');
  await mkdir(empty);
  expect(await ca('rotate', '--state', empty)).toMatchObject({ status: 1 });
  await writeFile(adminSecretPath(state), 'x', { mode: 0o600 });
  expect((await ca('rotate')).err).toContain('403');
  await server.close();
  expect((await ca('rotate')).err).toContain('No controller answers at');
  expect((await ca('status')).err).toContain('No controller answers at');
});
