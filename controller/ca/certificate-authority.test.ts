import { spawnSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { chmod, mkdtemp, readdir, readFile, rm, stat, symlink, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Identity } from '../../mesh/model/spiffe-id.ts';
import { ManualClock } from '../../mesh/runtime/clock.ts';
import { createLogger } from '../../mesh/runtime/logger.ts';
import { parseCertificate, parseCertificates } from '../../mesh/tls/certificate.ts';
import { createCsr } from '../../mesh/tls/csr.ts';
import { x509 } from '../../mesh/tls/x509.ts';
import { CaError } from './ca-error.ts';
import type { CaState } from './ca-state.ts';
import { CaStateFile } from './ca-state-file.ts';
import { CertificateAuthority, type CertificateAuthorityOptions } from './certificate-authority.ts';

const identity: Identity = { trustDomain: 'cluster.local', namespace: 'shop', serviceAccount: 'api' };
const minute = 60_000;
const hour = 60 * minute;
const logger = createLogger({ component: 'test', level: 'silent' });

let stateDir: string;
let clock: ManualClock;
const opened: CertificateAuthority[] = [];

beforeEach(async () => {
  stateDir = await mkdtemp(join(tmpdir(), 'weft-ca-'));
  clock = new ManualClock(1_800_000_000_123);
});

afterEach(async () => {
  for (const authority of opened.splice(0)) authority.close();
  await rm(stateDir, { recursive: true });
});

async function open(options: Partial<CertificateAuthorityOptions> = {}): Promise<CertificateAuthority> {
  const authority = await CertificateAuthority.open({ stateDir, clock, logger, ...options });
  opened.push(authority);
  return authority;
}

async function issue(authority: CertificateAuthority, lifeSeconds?: number) {
  const { csrPem } = await createCsr(identity);
  const issued = await authority.sign(csrPem, { identity, ...(lifeSeconds && { lifeSeconds }) });
  const leaf = new X509Certificate(issued.entries[0] as string);
  const roots = parseCertificates(issued.entries.at(-1) as string).map(
    (root) => new X509Certificate(root.raw),
  );
  return { ...issued, leaf, roots };
}

function trusts(roots: readonly X509Certificate[], leaf: X509Certificate): boolean {
  return roots.some((root) => leaf.checkIssued(root) && leaf.verify(root.publicKey));
}

/** Lets steps that a timer started reach the disk. */
async function phase(authority: CertificateAuthority, wanted: string): Promise<void> {
  await expect.poll(() => authority.rotation().phase).toBe(wanted);
}

describe('the root', () => {
  it('is made at the first start, for its owner only, and kept by the next', async () => {
    const first = (await open()).rootsPem();
    expect((await stat(join(stateDir, 'ca.json'))).mode & 0o777).toBe(0o600);
    expect(await readdir(stateDir)).toEqual(['ca.json']);
    expect((await open()).rootsPem()).toBe(first);
  });

  it('is a ten-year P-256 CA that may sign certificates only', async () => {
    const pem = (await open()).rootsPem();
    const root = new X509Certificate(pem);
    expect(root.ca).toBe(true);
    expect(root.publicKey.asymmetricKeyDetails).toEqual({ namedCurve: 'prime256v1' });
    expect(root.verify(root.publicKey)).toBe(true);
    const { notBefore, notAfter } = parseCertificate(pem);
    expect(notAfter - notBefore).toBe(10 * 365 * 24 * hour);
    const usage = new x509.X509Certificate(pem).getExtension(x509.KeyUsagesExtension);
    expect(usage?.usages).toBe(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign);
  });

  it('is made once when two controllers start at the same time', async () => {
    const results = await Promise.allSettled([open(), open()]);
    const started = results.filter((result) => result.status === 'fulfilled');
    expect(started.length).toBeGreaterThanOrEqual(1);
    for (const result of results.filter((result) => result.status === 'rejected')) {
      expect(result.reason).toMatchObject({ code: 'state-file', message: expect.stringContaining('EEXIST') });
    }
    const kept = (await open()).rootsPem();
    for (const { value } of started) expect(value.rootsPem()).toBe(kept);
    expect(await readdir(stateDir)).toEqual(['ca.json']);
  });

  it.each([0o640, 0o604, 0o660, 0o666])('is refused when its file has mode %o', async (mode) => {
    await open();
    await chmod(join(stateDir, 'ca.json'), mode);
    await expect(open()).rejects.toMatchObject({
      code: 'state-file',
      message: expect.stringMatching(/mode 06\d\d/),
    });
  });

  it('is refused when its file is a link', async () => {
    await open();
    const elsewhere = join(stateDir, 'elsewhere.json');
    await writeFile(elsewhere, await readFile(join(stateDir, 'ca.json')), { mode: 0o600 });
    await rm(join(stateDir, 'ca.json'));
    await symlink(elsewhere, join(stateDir, 'ca.json'));
    await expect(open()).rejects.toMatchObject({
      code: 'state-file',
      message: expect.stringContaining('not a regular file'),
    });
  });

  it('is refused when its file is cut short, and not replaced', async () => {
    await open();
    const path = join(stateDir, 'ca.json');
    await truncate(path, 100);
    await expect(open()).rejects.toMatchObject({
      code: 'state-corrupt',
      message: expect.stringMatching(/ca\.json" is corrupt: it is not JSON\. Restore it from a backup/),
    });
    expect((await stat(path)).size).toBe(100);
  });

  it('is refused when its key is not its own, without a word of the key', async () => {
    await open();
    const path = join(stateDir, 'ca.json');
    const state = JSON.parse(await readFile(path, 'utf8'));
    const { privateKeyPem } = await createCsr(identity);
    state.roots[0].privateKeyPem = privateKeyPem;
    await writeFile(path, JSON.stringify(state));
    const error = await open().then(
      () => new Error('opened'),
      (error: Error) => error,
    );
    expect(error).toMatchObject({ code: 'state-corrupt' });
    expect(error.message).toContain('not the key of the CA certificate');
    expect(error.message).not.toContain('PRIVATE');
  });

  it.each([
    ['an empty file', ''],
    ['another version', '{"version":2,"phase":"stable","roots":[]}'],
    ['no root', '{"version":1,"phase":"stable","roots":[]}'],
    [
      'garbage for a root',
      '{"version":1,"phase":"stable","roots":[{"certificatePem":"x","privateKeyPem":"y","issuedUntil":0}]}',
    ],
  ])('is refused when its file holds %s', async (_title, text) => {
    await writeFile(join(stateDir, 'ca.json'), text, { mode: 0o600 });
    await expect(open()).rejects.toMatchObject({ code: 'state-corrupt' });
  });

  it('does not sign after it expired', async () => {
    const authority = await open();
    clock.advance(10 * 365 * 24 * hour);
    await expect(issue(authority)).rejects.toMatchObject({ code: 'root-expired' });
  });
});

describe('a leaf', () => {
  it('verifies against the root and carries the identity as its only name', async () => {
    const { leaf, roots, serial } = await issue(await open());
    expect(trusts(roots, leaf)).toBe(true);
    expect(leaf.subject).toBeUndefined();
    expect(leaf.subjectAltName).toBe('URI:spiffe://cluster.local/ns/shop/sa/api');
    expect(leaf.ca).toBe(false);
    expect(leaf.keyUsage).toEqual(['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2']);
    expect(leaf.serialNumber.toLowerCase()).toBe(serial);
    expect(serial).toMatch(/^[4-7][0-9a-f]{31}$/);
  });

  it('has critical names, key usage and constraints, and key identifiers that lead to the root', async () => {
    const { entries } = await issue(await open());
    const leaf = new x509.X509Certificate(entries[0]);
    const root = new x509.X509Certificate(entries[1]);
    const critical = leaf.extensions
      .filter((extension) => extension.critical)
      .map((extension) => extension.type);
    expect(critical.sort()).toEqual(['2.5.29.15', '2.5.29.17', '2.5.29.19']);
    expect(leaf.getExtension(x509.BasicConstraintsExtension)?.ca).toBe(false);
    expect(leaf.getExtension(x509.KeyUsagesExtension)?.usages).toBe(x509.KeyUsageFlags.digitalSignature);
    const rootKeyId = root.getExtension(x509.SubjectKeyIdentifierExtension)?.keyId;
    expect(leaf.getExtension(x509.AuthorityKeyIdentifierExtension)?.keyId).toBe(rootKeyId);
    expect(leaf.getExtension(x509.SubjectKeyIdentifierExtension)?.keyId).toMatch(/^[0-9a-f]{40}$/i);
    expect(leaf.issuer).toBe(root.subject);
  });

  it.skipIf(spawnSync('openssl', ['version']).status !== 0)(
    'satisfies the openssl program at its strictest, for both sides of TLS',
    async () => {
      const { entries, notBefore } = await issue(await open());
      const [leaf, root] = ['leaf.pem', 'root.pem'].map((name) => join(stateDir, name));
      await writeFile(leaf as string, entries[0] as string);
      await writeFile(root as string, entries[1] as string);
      for (const purpose of ['sslserver', 'sslclient']) {
        const at = ['-attime', String(notBefore / 1000 + 60)];
        const args = [
          'verify',
          '-x509_strict',
          '-purpose',
          purpose,
          ...at,
          '-CAfile',
          root as string,
          leaf as string,
        ];
        expect(spawnSync('openssl', args, { encoding: 'utf8' }).stdout).toBe(`${leaf}: OK\n`);
      }
    },
  );

  it('lives a day by default, backdated by a minute', async () => {
    const { notBefore, notAfter, entries } = await issue(await open());
    expect(notBefore).toBe(1_800_000_000_000 - minute);
    expect(notAfter).toBe(1_800_000_000_000 + 24 * hour);
    expect(parseCertificate(entries[0] as string)).toMatchObject({ notBefore, notAfter });
  });

  it.each([
    [1, 60],
    [-5, 86_400],
    [90, 90],
    [1e12, 7 * 86_400],
  ])('asked for %i s lives %i s', async (asked, given) => {
    const { notAfter } = await issue(await open(), asked);
    expect(notAfter).toBe(1_800_000_000_000 + given * 1000);
  });

  it('may live shorter where the operator says so, and its half life is still ahead', async () => {
    const { notBefore, notAfter } = await issue(await open({ minLifeSeconds: 5, maxLifeSeconds: 20 }), 8);
    expect(notAfter).toBe(1_800_000_000_000 + 8000);
    expect((notBefore + notAfter) / 2).toBeGreaterThan(clock.now());
  });

  it('has a serial of its own', async () => {
    const authority = await open();
    const issued = await Promise.all(Array.from({ length: 20 }, () => issue(authority)));
    expect(new Set(issued.map(({ serial }) => serial)).size).toBe(20);
  });

  it('is dated right after 2050, when certificates change the form of their dates', async () => {
    clock = new ManualClock(Date.parse('2055-02-03T04:05:06Z'));
    const { entries, notAfter } = await issue(await open());
    expect(parseCertificate(entries[0] as string).notAfter).toBe(notAfter);
    expect(new X509Certificate(entries[0] as string).validTo).toBe('Feb  4 04:05:06 2055 GMT');
  });

  it.each([{ namespace: 'a/b' }, { namespace: '' }, { serviceAccount: 'ä' }, { trustDomain: 'x y' }])(
    'is refused for an identity with %o',
    async (part) => {
      const { csrPem } = await createCsr(identity);
      const authority = await open();
      await expect(authority.sign(csrPem, { identity: { ...identity, ...part } })).rejects.toMatchObject({
        code: 'identity-invalid',
      });
    },
  );

  it('is given out for half an hour at least while the store is away', async () => {
    const file = new CaStateFile(stateDir);
    let away = false;
    const guard = async <T>(run: () => Promise<T>): Promise<T> => {
      if (away) throw new CaError('state-file', 'The API server is away');
      return await run();
    };
    const store = {
      place: 'a store',
      load: () => guard(() => file.load()),
      create: (state: CaState) => guard(() => file.create(state)),
      save: (state: CaState) => guard(() => file.save(state)),
    };
    const authority = await open({ store, refreshMs: 0 });
    // Whatever was written ahead when the store goes away: a certificate every minute, for three hours.
    for (let minutes = 0; minutes < 180; minutes++) {
      await issue(authority);
      clock.advance(minute);
      if (minutes % 45 !== 44) continue;
      away = true;
      for (let outage = 0; outage < 29; outage++) {
        await issue(authority);
        clock.advance(minute);
      }
      away = false;
    }
  });

  it('is not given out when the disk refuses the state', async () => {
    const authority = await open();
    const path = join(stateDir, 'ca.json');
    const text = await readFile(path);
    await rm(stateDir, { recursive: true });
    await expect(issue(authority)).rejects.toMatchObject({ code: 'state-file' });
    await (await import('node:fs/promises')).mkdir(stateDir);
    await writeFile(path, text, { mode: 0o600 });
    expect((await issue(authority)).leaf.ca).toBe(false);
  });
});

describe('root rotation', () => {
  it('trusts old and new leaves on both sides at every step', async () => {
    const authority = await open();
    const before = await issue(authority);
    await authority.startRotation();
    const prepared = await issue(authority);
    expect(prepared.roots).toHaveLength(2);
    expect(trusts(before.roots, prepared.leaf)).toBe(true);

    clock.advance(authority.rotation().nextStepAt! - clock.now());
    await phase(authority, 'active');
    const active = await issue(authority);
    expect(active.roots).toHaveLength(2);
    expect(trusts(active.roots, prepared.leaf)).toBe(true);
    expect(trusts(prepared.roots, active.leaf)).toBe(true);
    expect(trusts(before.roots, active.leaf)).toBe(false);
    expect(clock.now()).toBeGreaterThanOrEqual(before.notAfter);

    clock.advance(authority.rotation().nextStepAt! - clock.now());
    await phase(authority, 'stable');
    const after = await issue(authority);
    expect(after.roots).toHaveLength(1);
    expect(trusts(after.roots, active.leaf)).toBe(true);
    expect(trusts(active.roots, after.leaf)).toBe(true);
    expect(trusts(after.roots, prepared.leaf)).toBe(false);
    expect(clock.now()).toBeGreaterThanOrEqual(prepared.notAfter);
  });

  it('goes on after a restart at the step where it was', async () => {
    const first = await open();
    await issue(first, 600);
    await first.startRotation();
    const { trusted } = first.rotation();
    first.close();
    const second = await open();
    expect(second.rotation()).toMatchObject({ phase: 'prepare', signing: trusted[0], trusted });
    clock.advance(20 * minute);
    await phase(second, 'active');
    second.close();
    const third = await open();
    expect(third.rotation()).toMatchObject({ phase: 'active', signing: trusted[1], trusted });
    clock.advance(20 * minute);
    await phase(third, 'stable');
    third.close();
    expect((await open()).rotation()).toEqual({
      phase: 'stable',
      signing: trusted[1],
      trusted: [trusted[1]],
    });
  });

  it('takes an overdue step at the start', async () => {
    const first = await open();
    await issue(first, 600);
    await first.startRotation();
    first.close();
    clock.advance(30 * 24 * hour);
    const second = await open();
    clock.advance(1);
    await phase(second, 'active');
  });

  it('refuses a step that would break certificates in use, unless forced', async () => {
    const authority = await open();
    await issue(authority);
    await authority.startRotation();
    await expect(authority.advanceRotation()).rejects.toMatchObject({
      code: 'rotation-too-early',
      message: expect.stringContaining('valid until 2027-01-1'),
    });
    expect((await authority.advanceRotation({ force: true })).phase).toBe('active');
    expect((await authority.advanceRotation({ force: true })).phase).toBe('stable');
  });

  it('refuses a second one beside the first, and a step of none', async () => {
    const authority = await open();
    await expect(authority.advanceRotation()).rejects.toMatchObject({ code: 'rotation-step' });
    await authority.startRotation();
    await expect(authority.startRotation()).rejects.toMatchObject({ code: 'rotation-step' });
    expect(authority.rotation().trusted).toHaveLength(2);
  });

  it('waits for certificates of the old root that were issued while it was under way', async () => {
    const authority = await open();
    await authority.startRotation();
    const { notAfter } = await issue(authority, 3600);
    await authority.advanceRotation();
    expect(authority.rotation().nextStepAt).toBeGreaterThanOrEqual(notAfter);
  });

  it('tells its listeners of every step', async () => {
    const authority = await open();
    const steps: string[] = [];
    authority.subscribe(() => steps.push(authority.rotation().phase));
    await authority.startRotation();
    await authority.advanceRotation({ force: true });
    await authority.advanceRotation({ force: true });
    expect(steps).toEqual(['prepare', 'active', 'stable']);
  });

  it('removes the old private key from the disk at the end', async () => {
    const authority = await open();
    const path = join(stateDir, 'ca.json');
    const old = JSON.parse(await readFile(path, 'utf8')).roots[0].privateKeyPem;
    await authority.startRotation();
    await authority.advanceRotation({ force: true });
    expect(await readFile(path, 'utf8')).toContain(JSON.stringify(old));
    await authority.advanceRotation({ force: true });
    expect(await readFile(path, 'utf8')).not.toContain(JSON.stringify(old));
  });
});
