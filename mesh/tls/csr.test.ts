import { execFileSync, spawnSync } from 'node:child_process';
import { createPrivateKey, createPublicKey } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { createCsr } from './csr.ts';
import { x509 } from './x509.ts';

const identity = { trustDomain: 'cluster.local', namespace: 'shop', serviceAccount: 'api' };

describe('createCsr()', () => {
  it('asks for one critical URI with an empty subject and a valid SHA-256 signature', async () => {
    const request = new x509.Pkcs10CertificateRequest((await createCsr(identity)).csrPem);
    expect(request.subject).toBe('');
    expect(request.extensions).toHaveLength(1);
    const [san] = request.extensions as x509.SubjectAlternativeNameExtension[];
    expect(san?.critical).toBe(true);
    expect(san?.names.toJSON()).toEqual([{ type: 'url', value: 'spiffe://cluster.local/ns/shop/sa/api' }]);
    expect(request.signatureAlgorithm).toMatchObject({ name: 'ECDSA', hash: { name: 'SHA-256' } });
    expect(await request.verify()).toBe(true);
  });

  it('returns the P-256 key of the request as PKCS#8', async () => {
    const { privateKeyPem, publicKeyDer } = await createCsr(identity);
    expect(privateKeyPem).toMatch(/^-----BEGIN PRIVATE KEY-----\n/);
    const key = createPrivateKey(privateKeyPem);
    expect(key.asymmetricKeyDetails).toEqual({ namedCurve: 'prime256v1' });
    expect(createPublicKey(privateKeyPem).export({ type: 'spki', format: 'der' })).toEqual(publicKeyDer);
  });

  it('makes a fresh key each time', async () => {
    const [one, two] = await Promise.all([createCsr(identity), createCsr(identity)]);
    expect(one.publicKeyDer.equals(two.publicKeyDer)).toBe(false);
  });

  it.skipIf(spawnSync('openssl', ['version']).status !== 0)(
    'is understood by the openssl program',
    async () => {
      const { csrPem } = await createCsr(identity);
      const text = execFileSync('openssl', ['req', '-noout', '-text', '-verify'], {
        input: csrPem,
        encoding: 'utf8',
        stdio: ['pipe', 'pipe', 'ignore'],
      });
      expect(text).toMatch(
        /Subject Alternative Name: critical\s+URI:spiffe:\/\/cluster\.local\/ns\/shop\/sa\/api\n/,
      );
      expect(text).toContain('ASN1 OID: prime256v1');
    },
  );
});
