import { beforeAll, describe, expect, it } from 'vitest';
import { IoError } from './io-error.ts';
import { TestAuthority } from './testing/authority.ts';
import { TlsContext, type TlsCredentials } from './tls-context.ts';

let good: TlsCredentials;
let other: TlsCredentials;

beforeAll(async () => {
  const authority = await TestAuthority.create();
  good = await authority.issue({ uris: ['spiffe://cluster.local/ns/a/sa/b'] });
  other = await authority.issue({ uris: ['spiffe://cluster.local/ns/a/sa/c'] });
});

function refusal(change: Partial<TlsCredentials>, role: 'client' | 'server' = 'server'): string {
  try {
    new TlsContext(role, { ...good, ...change })[Symbol.dispose]();
  } catch (error) {
    expect(error).toBeInstanceOf(IoError);
    expect((error as IoError).code).toBe('tls-credentials-invalid');
    return (error as IoError).message;
  }
  return 'accepted';
}

const garbage = '-----BEGIN CERTIFICATE-----\nbm90IGEgY2VydGlmaWNhdGU=\n-----END CERTIFICATE-----\n';

describe('TlsContext', () => {
  it('takes good credentials for both roles, and disposing of it twice is harmless', () => {
    for (const role of ['client', 'server'] as const) {
      const context = new TlsContext(role, good);
      context[Symbol.dispose]();
      context[Symbol.dispose]();
    }
  });

  it('says which of the credentials is bad', () => {
    expect(refusal({ privateKeyPem: other.privateKeyPem })).toBe(
      'Could not match the private key with the certificate: key values mismatch',
    );
    expect(refusal({ privateKeyPem: 'garbage' })).toMatch(/^Could not read the private key/);
    expect(refusal({ privateKeyPem: '' })).toMatch(/^Could not read the private key/);
    expect(refusal({ chainPem: garbage })).toMatch(
      /^Could not read certificate 1 of 1 of the certificate chain: /,
    );
    expect(refusal({ chainPem: '' })).toMatch(/^Could not find a certificate in the chain/);
    expect(refusal({ chainPem: good.chainPem + garbage })).toMatch(
      /^Could not read certificate 2 of 2 of the certificate chain: /,
    );
    expect(refusal({ rootsPem: '' })).toMatch(/^Could not find a root certificate/);
    expect(refusal({ rootsPem: 'nothing of the kind' })).toMatch(/^Could not find a root certificate/);
    expect(refusal({ rootsPem: good.rootsPem.slice(0, 200) }, 'client')).toMatch(
      /^Could not read certificate 1 of 1 of the roots/,
    );
  });

  it('takes several roots, also the same one twice', () => {
    expect(refusal({ rootsPem: good.rootsPem + good.rootsPem })).toBe('accepted');
  });

  it('leaves nothing of a failure behind for the next one', () => {
    refusal({ chainPem: garbage });
    expect(refusal({})).toBe('accepted');
    expect(refusal({ rootsPem: '' })).toBe('Could not find a root certificate');
  });
});
