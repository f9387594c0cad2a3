// A certificate authority for tests of TLS connections, by the certificate library alone. Whatever can be wrong with a
// leaf can be made wrong on purpose.

import { encodePem } from '../../tls/pem.ts';
import { x509 } from '../../tls/x509.ts';
import type { TlsCredentials } from '../tls-context.ts';

const signing = { name: 'ECDSA', hash: 'SHA-256' } as const;
const dayMs = 86_400_000;

export interface IssueOptions {
  /** URI names; none leaves the extension out. */
  readonly uris?: readonly string[];
  readonly dnsNames?: readonly string[];
  /** From now, ms. */
  readonly notBeforeMs?: number;
  readonly notAfterMs?: number;
  /** Extended key usages; none leaves the extension out. */
  readonly usages?: readonly string[];
  /** Roots the holder trusts; default the issuer's. */
  readonly rootsPem?: string;
}

export const clientAuth = '1.3.6.1.5.5.7.3.2';
export const serverAuth = '1.3.6.1.5.5.7.3.1';

async function newKeys() {
  return await crypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, true, ['sign', 'verify']);
}

export class TestAuthority {
  readonly rootPem: string;
  #keys: Awaited<ReturnType<typeof newKeys>>;
  #root: x509.X509Certificate;

  private constructor(keys: Awaited<ReturnType<typeof newKeys>>, root: x509.X509Certificate) {
    this.#keys = keys;
    this.#root = root;
    this.rootPem = encodePem('CERTIFICATE', new Uint8Array(root.rawData));
  }

  static async create(name = 'weft test root'): Promise<TestAuthority> {
    const keys = await newKeys();
    const root = await x509.X509CertificateGenerator.createSelfSigned({
      name: `O=${name}`,
      keys,
      signingAlgorithm: signing,
      notBefore: new Date(Date.now() - dayMs),
      notAfter: new Date(Date.now() + dayMs),
      extensions: [new x509.BasicConstraintsExtension(true, undefined, true)],
    });
    return new TestAuthority(keys, root);
  }

  /** A leaf with its key and the roots it trusts. */
  async issue(options: IssueOptions = {}): Promise<TlsCredentials> {
    const keys = await newKeys();
    const names = [
      ...(options.uris ?? []).map((value) => ({ type: 'url', value }) as const),
      ...(options.dnsNames ?? []).map((value) => ({ type: 'dns', value }) as const),
    ];
    const extensions: x509.Extension[] = [new x509.BasicConstraintsExtension(false, undefined, true)];
    if (names.length > 0) extensions.push(new x509.SubjectAlternativeNameExtension(names, true));
    if (options.usages !== undefined)
      extensions.push(new x509.ExtendedKeyUsageExtension([...options.usages], false));
    const leaf = await x509.X509CertificateGenerator.create({
      issuer: this.#root.subject,
      publicKey: keys.publicKey,
      signingKey: this.#keys.privateKey,
      signingAlgorithm: signing,
      notBefore: new Date(Date.now() + (options.notBeforeMs ?? -60_000)),
      notAfter: new Date(Date.now() + (options.notAfterMs ?? dayMs / 2)),
      extensions,
    });
    const key = await crypto.subtle.exportKey('pkcs8', keys.privateKey);
    return {
      privateKeyPem: encodePem('PRIVATE KEY', new Uint8Array(key)),
      chainPem: encodePem('CERTIFICATE', new Uint8Array(leaf.rawData)),
      rootsPem: options.rootsPem ?? this.rootPem,
    };
  }
}
