import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { ManualClock } from '../runtime/clock.ts';
import { certificatePem, parseCertificate, parseCertificates } from './certificate.ts';
import { CertificateError } from './certificate-error.ts';
import { createCsr } from './csr.ts';
import { TestCa } from './testing/test-ca.ts';

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
