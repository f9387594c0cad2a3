// A CA as an operator's own tools make it: a root, an intermediate below it that may sign, and a leaf that may not.

import { generateKeyPairSync, type KeyObject, type webcrypto } from 'node:crypto';
import { x509 } from '../../../mesh/tls/x509.ts';

export type KeyKind = 'P-256' | 'P-384' | 'RSA';

export interface TestCa {
  /** Of the intermediate. */
  readonly certificatePem: string;
  /** In the form the tool of that kind writes: SEC 1, PKCS#1. */
  readonly privateKeyPem: string;
  readonly rootPem: string;
  readonly rootKeys: webcrypto.CryptoKeyPair;
  readonly rootName: string;
  readonly leaf: { readonly certificatePem: string; readonly privateKeyPem: string };
}

export interface TestCaOptions {
  /** Wall clock in ms. */
  readonly now: number;
  readonly keyKind?: KeyKind;
  /** Signs below the root of this one instead of a root of its own. */
  readonly root?: TestCa;
}

const day = 86_400_000;
const ecdsa = { name: 'ECDSA', hash: 'SHA-256' };
let count = 0;

export async function makeCa({ now, keyKind = 'P-256', root }: TestCaOptions): Promise<TestCa> {
  count += 1;
  const times = { notBefore: new Date(now - day), notAfter: new Date(now + 365 * day) };
  const rootKeys =
    root?.rootKeys ??
    (await crypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, true, ['sign', 'verify']));
  const rootName = root?.rootName ?? `CN=Test root ${count}`;
  const rootPem =
    root?.rootPem ??
    (
      await x509.X509CertificateGenerator.createSelfSigned({
        name: rootName,
        keys: rootKeys,
        signingAlgorithm: ecdsa,
        ...times,
        extensions: await extensions(rootKeys.publicKey, true),
      })
    ).toString('pem') + '\n';
  const below = async (name: string, isCa: boolean) => {
    const { publicKey, privateKey } = keyPair(keyKind);
    const certificate = await x509.X509CertificateGenerator.create({
      subject: name,
      issuer: rootName,
      publicKey: new x509.PublicKey(publicKey.export({ type: 'spki', format: 'der' })),
      signingKey: rootKeys.privateKey,
      signingAlgorithm: ecdsa,
      ...times,
      extensions: await extensions(publicKey.export({ type: 'spki', format: 'der' }), isCa),
    });
    const type = keyKind === 'RSA' ? 'pkcs1' : 'sec1';
    const privateKeyPem = privateKey.export({ type, format: 'pem' } as never) as unknown as string;
    return { certificatePem: `${certificate.toString('pem')}\n`, privateKeyPem };
  };
  const intermediate = await below(`CN=Test intermediate ${count}`, true);
  return { ...intermediate, rootPem, rootKeys, rootName, leaf: await below('CN=Test leaf', false) };
}

async function extensions(
  publicKey: CryptoKey | Uint8Array,
  isCa: boolean,
): Promise<InstanceType<typeof x509.Extension>[]> {
  const key = publicKey instanceof Uint8Array ? new x509.PublicKey(new Uint8Array(publicKey)) : publicKey;
  return [
    new x509.BasicConstraintsExtension(isCa, undefined, true),
    await x509.SubjectKeyIdentifierExtension.create(key),
  ];
}

function keyPair(kind: KeyKind): { publicKey: KeyObject; privateKey: KeyObject } {
  if (kind === 'RSA') return generateKeyPairSync('rsa', { modulusLength: 2048 });
  return generateKeyPairSync('ec', { namedCurve: kind });
}
