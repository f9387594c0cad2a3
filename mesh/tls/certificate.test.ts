import { execFileSync, spawnSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { ManualClock } from '../runtime/clock.ts';
import { certificatePem, parseCertificate, parseCertificates } from './certificate.ts';
import { CertificateError } from './certificate-error.ts';
import { createCsr } from './csr.ts';
import { TestCa } from './testing/test-ca.ts';
import { x509 } from './x509.ts';

const hasOpenssl = spawnSync('openssl', ['version']).status === 0;

const identity = { trustDomain: 'cluster.local', namespace: 'shop', serviceAccount: 'api' };
const uri = 'spiffe://cluster.local/ns/shop/sa/api';
const clock = new ManualClock(1_800_000_000_000);
let ca: TestCa;
let csrPem: string;

beforeAll(async () => {
  ca = await TestCa.create(clock);
  ({ csrPem } = await createCsr(identity));
});

describe('parseCertificate()', () => {
  it('reads identity, times, serial and role from PEM and from DER', async () => {
    const pem = await ca.leaf({ csrPem, lifeMs: 60_000 });
    const parsed = parseCertificate(pem);
    expect(parsed).toMatchObject({
      identities: [uri],
      uris: [uri],
      notBefore: 1_800_000_000_000,
      notAfter: 1_800_000_060_000,
      isCa: false,
    });
    expect(parsed.serial).toMatch(/^[1-9a-f][0-9a-f]{20,40}$/);
    expect(parseCertificate(parsed.raw)).toEqual(parsed);
    expect(certificatePem(parsed)).toBe(pem);
  });

  it('leaves out names that are no SPIFFE IDs, and keeps the order of the others', async () => {
    const uris = ['https://x.example', uri, 'spiffe://td/ns/a', 'spiffe://td/ns/a/sa/b'];
    const parsed = parseCertificate(await ca.leaf({ csrPem, lifeMs: 1000, uris }));
    expect(parsed.uris).toEqual(uris);
    expect(parsed.identities).toEqual([uri, 'spiffe://td/ns/a/sa/b']);
  });

  it('takes a name with a separator in it for one name', async () => {
    const uris = ['x, URI:spiffe://cluster.local/ns/shop/sa/admin, y'];
    expect(parseCertificate(await ca.leaf({ csrPem, lifeMs: 1000, uris })).identities).toEqual([]);
  });

  it('knows a CA, and certificates without names', () => {
    expect(parseCertificate(ca.pem())).toMatchObject({ isCa: true, identities: [], uris: [] });
  });

  it('agrees with an independent reader and with OpenSSL', async () => {
    const uris = fc.array(fc.webUrl(), { minLength: 1, maxLength: 4 });
    const cases = fc.record({
      uris,
      lifeMs: fc.integer({ min: 0, max: 3_000_000_000_000 }),
      ca: fc.boolean(),
    });
    await fc.assert(
      fc.asyncProperty(cases, async (profile) => {
        const pem = await ca.leaf({ csrPem, ...profile });
        const ours = parseCertificate(pem);
        const theirs = new x509.X509Certificate(pem);
        const names = theirs.getExtension(x509.SubjectAlternativeNameExtension)?.names.items ?? [];
        expect(ours.uris).toEqual(names.map(({ value }) => value));
        expect(ours.serial).toBe(theirs.serialNumber.toLowerCase().replace(/^0+/, ''));
        expect([ours.notBefore, ours.notAfter]).toEqual([+theirs.notBefore, +theirs.notAfter]);
        expect(ours.isCa).toBe(profile.ca);
        const { validFromDate, validToDate } = new X509Certificate(pem);
        expect([ours.notBefore, ours.notAfter]).toEqual([+validFromDate, +validToDate]);
      }),
      { numRuns: 40 },
    );
  });

  it('reads a certificate that the openssl program made', { skip: !hasOpenssl }, () => {
    const san = 'subjectAltName=critical,DNS:x.example,URI:spiffe://td/ns/a/sa/b,IP:10.0.0.1';
    const args = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
    args.push(
      '-keyout',
      '/dev/null',
      '-subj',
      '/CN=x',
      '-days',
      '2',
      '-set_serial',
      '0x0badcafe',
      '-addext',
      san,
    );
    const pem = execFileSync('openssl', args, { encoding: 'utf8', stdio: ['pipe', 'pipe', 'ignore'] });
    const parsed = parseCertificate(pem);
    expect(parsed).toMatchObject({ uris: ['spiffe://td/ns/a/sa/b'], serial: 'badcafe', isCa: true });
    expect(parsed.notAfter - parsed.notBefore).toBe(2 * 86_400_000);
  });

  it('refuses a certificate that hides another one in its bytes', async () => {
    const hidden = await ca.leaf({ csrPem, lifeMs: 60_000, uris: ['spiffe://td/ns/a/sa/admin'] });
    const outer = await ca.leaf({ csrPem, lifeMs: 60_000, uris: [`x:\n${hidden}`] });
    expect(() => parseCertificate(outer)).toThrow(CertificateError);
  });

  it('refuses bytes after the certificate', () => {
    const der = Buffer.concat([parseCertificate(ca.pem()).raw, Buffer.of(5, 0)]);
    expect(() => parseCertificate(der)).toThrow(CertificateError);
  });

  it('refuses more than 64 KB', () => {
    expect(() => parseCertificate(Buffer.alloc(64 * 1024 + 1))).toThrow('is larger than 65536');
  });

  it('throws only a CertificateError for random and for damaged bytes', () => {
    const good = parseCertificate(ca.pem()).raw;
    const damaged = fc.tuple(fc.nat(good.length - 1), fc.integer({ min: 0, max: 255 })).map(([at, value]) => {
      const der = Buffer.from(good);
      der[at] = value;
      return der;
    });
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 300 }), damaged), (der) => {
        try {
          expect(parseCertificate(der).raw).toEqual(Buffer.from(der));
        } catch (error) {
          expect(error).toBeInstanceOf(CertificateError);
        }
      }),
      { numRuns: 500 },
    );
  });
});

it('parseCertificates() reads every certificate of a bundle', async () => {
  const second = await TestCa.create(clock);
  expect(parseCertificates(ca.pem() + second.pem()).map(certificatePem)).toEqual([ca.pem(), second.pem()]);
});
