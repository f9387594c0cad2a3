import { execFileSync, spawnSync } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { formatSpiffeId, type SpiffeId } from '../../mesh/model/spiffe-id.ts';
import { createCsr } from '../../mesh/tls/csr.ts';
import { encodePem } from '../../mesh/tls/pem.ts';
import { x509 } from '../../mesh/tls/x509.ts';
import { CaError } from './ca-error.ts';
import { checkCsr } from './csr-check.ts';

const identity = { trustDomain: 'cluster.local', namespace: 'shop', serviceAccount: 'api' };
const granted = formatSpiffeId(identity);
const p256 = { name: 'ECDSA', namedCurve: 'P-256' } as const;

let goodDer: Buffer;

beforeAll(async () => {
  goodDer = derOf((await createCsr(identity)).csrPem);
});

function derOf(pem: string): Buffer {
  return Buffer.from(pem.replaceAll(/-----.*-----|\n/g, ''), 'base64');
}

interface Request {
  readonly key: object;
  readonly hash?: string;
  readonly names?: x509.JsonGeneralNames | undefined;
}

async function csr({
  key,
  hash = 'SHA-256',
  names = [{ type: 'url', value: granted }],
}: Request): Promise<string> {
  const keys = await crypto.subtle.generateKey(key as typeof p256, true, ['sign', 'verify']);
  const request = await x509.Pkcs10CertificateRequestGenerator.create({
    keys,
    signingAlgorithm: { ...key, hash } as never,
    extensions: names.length === 0 ? [] : [new x509.SubjectAlternativeNameExtension(names, true)],
  });
  return encodePem('CERTIFICATE REQUEST', new Uint8Array(request.rawData));
}

function rsa(modulusLength: number, hash = 'SHA-256'): Request {
  return {
    key: { name: 'RSASSA-PKCS1-v1_5', modulusLength, publicExponent: new Uint8Array([1, 0, 1]), hash },
    hash,
  };
}

describe('checkCsr() accepts', () => {
  it('what a node tunnel sends, and returns the key of the request', async () => {
    const { csrPem, publicKeyDer } = await createCsr(identity);
    expect(await checkCsr(csrPem, granted)).toEqual(publicKeyDer);
  });

  it.each<[string, Request]>([
    ['Ed25519', { key: { name: 'Ed25519' } }],
    ['RSA-2048', rsa(2048)],
    ['RSA-2048 with SHA-512', rsa(2048, 'SHA-512')],
    ['P-256 with SHA-384', { key: p256, hash: 'SHA-384' }],
  ])('%s', async (_title, request) => {
    expect((await checkCsr(await csr(request), granted)).length).toBeGreaterThan(40);
  });
});

describe.skipIf(spawnSync('openssl', ['version']).status !== 0)('requests of the openssl program', () => {
  function openssl(...args: readonly string[]): string {
    const request = ['req', '-new', '-nodes', '-keyout', '/dev/null', '-subj', '/'];
    return execFileSync(
      'openssl',
      [...request, '-addext', `subjectAltName=critical,URI:${granted}`, ...args],
      {
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'ignore'],
      },
    );
  }

  it.each([
    ['ec', 'ec_paramgen_curve:P-256'],
    ['rsa', 'rsa_keygen_bits:2048'],
  ])('are accepted with a good %s key', async (algorithm, option) => {
    const pem = openssl('-newkey', algorithm, '-pkeyopt', option);
    expect((await checkCsr(pem, granted)).length).toBeGreaterThan(40);
  });

  it.each([
    ['csr-key-weak', 'rsa', 'rsa_keygen_bits:1024'],
    ['csr-key-unsupported', 'ec', 'ec_paramgen_curve:secp256k1'],
    ['csr-key-unsupported', 'ec', 'ec_paramgen_curve:P-384'],
  ])('are refused as %s with %s %s', async (code, algorithm, option) => {
    const pem = openssl('-newkey', algorithm, '-pkeyopt', option);
    await expect(checkCsr(pem, granted)).rejects.toMatchObject({ code });
  });

  it('are refused with a curve that is spelled out instead of named', async () => {
    const pem = openssl(
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:P-256',
      '-pkeyopt',
      'ec_param_enc:explicit',
    );
    await expect(checkCsr(pem, granted)).rejects.toMatchObject({ code: 'csr-key-unsupported' });
  });
});

describe('checkCsr() refuses', () => {
  it.each<[string, string, Request]>([
    ['RSA-1024', 'csr-key-weak', rsa(1024)],
    ['P-384', 'csr-key-unsupported', { key: { name: 'ECDSA', namedCurve: 'P-384' }, hash: 'SHA-384' }],
    ['P-521', 'csr-key-unsupported', { key: { name: 'ECDSA', namedCurve: 'P-521' }, hash: 'SHA-512' }],
    ['a SHA-1 signature', 'csr-signature-invalid', { key: p256, hash: 'SHA-1' }],
    ['no name', 'csr-identity-mismatch', { key: p256, names: [] }],
    [
      'another identity',
      'csr-identity-mismatch',
      { key: p256, names: [{ type: 'url', value: 'spiffe://cluster.local/ns/shop/sa/admin' }] },
    ],
    [
      'a second identity',
      'csr-identity-mismatch',
      {
        key: p256,
        names: [
          { type: 'url', value: granted },
          { type: 'url', value: 'spiffe://cluster.local/ns/shop/sa/admin' },
        ],
      },
    ],
    [
      'the identity as a DNS name',
      'csr-identity-mismatch',
      { key: p256, names: [{ type: 'dns', value: granted }] },
    ],
  ])('%s', async (_title, code, request) => {
    await expect(checkCsr(await csr(request), granted)).rejects.toMatchObject({ code });
  });

  it('a wrong signature, however the request is changed', async () => {
    const other = derOf((await createCsr(identity)).csrPem);
    // Same layout: the public key of one request with the signature of another.
    const swapped = Buffer.from(goodDer);
    const at = goodDer.indexOf(Buffer.from('03420004', 'hex')) + 4;
    other.copy(swapped, at, at, at + 64);
    await expect(checkCsr(encodePem('CERTIFICATE REQUEST', swapped), granted)).rejects.toMatchObject({
      code: 'csr-signature-invalid',
    });
  });

  it('an X25519 key, which cannot sign', async () => {
    const spki = generateKeyPairSync('x25519').publicKey.export({ type: 'spki', format: 'der' });
    const info = Buffer.concat([
      Buffer.from('020100', 'hex'),
      Buffer.from('3000', 'hex'),
      spki,
      Buffer.from('a000', 'hex'),
    ]);
    const tbs = Buffer.concat([Buffer.of(0x30, info.length), info]);
    const tail = Buffer.from('300a06082a8648ce3d0403020304003001', 'hex');
    const csrDer = Buffer.concat([Buffer.of(0x30, tbs.length + tail.length), tbs, tail]);
    await expect(checkCsr(encodePem('CERTIFICATE REQUEST', csrDer), granted)).rejects.toMatchObject({
      code: expect.stringMatching(/^csr-(key-unsupported|malformed)$/),
    });
  });

  it('more than 64 KB before it reads any of it', async () => {
    await expect(checkCsr('x'.repeat(64 * 1024 + 1), granted)).rejects.toMatchObject({
      code: 'csr-too-large',
    });
  });

  it('a certificate instead of a request', async () => {
    await expect(checkCsr(encodePem('CERTIFICATE', goodDer), granted)).rejects.toMatchObject({
      code: 'csr-malformed',
    });
  });

  it('two requests at once', async () => {
    const pem = encodePem('CERTIFICATE REQUEST', goodDer);
    await expect(checkCsr(pem + pem, granted)).rejects.toMatchObject({ code: 'csr-malformed' });
  });

  it('an identity it was asked for but not granted', async () => {
    const { csrPem } = await createCsr(identity);
    const other = 'spiffe://cluster.local/ns/shop/sa/web' as SpiffeId;
    await expect(checkCsr(csrPem, other)).rejects.toMatchObject({
      code: 'csr-identity-mismatch',
      message: `Certificate request asks for "${granted}", but its sender may have "${other}" only`,
    });
  });

  it('random text and random bytes, always with a CaError', async () => {
    const anything = fc.oneof(
      fc.string({ maxLength: 300 }),
      fc.uint8Array({ minLength: 1, maxLength: 600 }).map((bytes) => encodePem('CERTIFICATE REQUEST', bytes)),
    );
    await fc.assert(
      fc.asyncProperty(anything, async (text) => {
        const error = await checkCsr(text, granted).catch((error: unknown) => error);
        expect(error).toBeInstanceOf(CaError);
      }),
      { numRuns: 300 },
    );
  });

  it('a good request with bytes changed, always with a CaError, unless it still means the same', async () => {
    const change = fc.record({ at: fc.nat(), value: fc.integer({ min: 0, max: 255 }) });
    await fc.assert(
      fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 4 }), async (changes) => {
        const der = Buffer.from(goodDer);
        for (const { at, value } of changes) der[at % der.length] = value;
        const result = await checkCsr(encodePem('CERTIFICATE REQUEST', der), granted).catch(
          (error: unknown) => error,
        );
        if (der.equals(goodDer)) expect(result).toBeInstanceOf(Buffer);
        else if (!(result instanceof CaError)) expect(goodDer.includes(result as Buffer)).toBe(true);
      }),
      { numRuns: 400 },
    );
  });
});
