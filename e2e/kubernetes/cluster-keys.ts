// The keys and certificates of a throw-away cluster: one authority, the API server's certificate, client certificates
// and the key that signs ServiceAccount tokens. ECDSA P-256 throughout; everything is valid for a day.

import { generateKeyPairSync, randomBytes, webcrypto } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import 'reflect-metadata';
import {
  BasicConstraintsExtension,
  type Extension,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  SubjectAlternativeNameExtension,
  type X509Certificate,
  X509CertificateGenerator,
} from '@peculiar/x509';

const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
const dayMs = 86_400_000;

interface KeyedCertificate {
  readonly certificate: X509Certificate;
  readonly keys: webcrypto.CryptoKeyPair;
}

export interface ClientIdentity {
  readonly user: string;
  readonly groups?: readonly string[];
}

/** By what the API server is reached besides localhost. */
export interface ServerNames {
  readonly names?: readonly string[];
  readonly addresses?: readonly string[];
}

export class ClusterKeys {
  readonly directory: string;
  readonly #authority: KeyedCertificate;

  private constructor(directory: string, authority: KeyedCertificate) {
    this.directory = directory;
    this.#authority = authority;
  }

  /** Writes ca.crt, apiserver.crt, apiserver.key, sa.key and sa.pub into `directory`, which is made. */
  static async create(
    directory: string,
    { names = [], addresses = [] }: ServerNames = {},
  ): Promise<ClusterKeys> {
    await mkdir(directory, { recursive: true, mode: 0o700 });
    const keys = await newKeys();
    const certificate = await sign({ subject: 'CN=test-cluster-ca', keys, extensions: authorityExtensions });
    const created = new ClusterKeys(directory, { certificate, keys });
    await created.#write('ca.crt', certificate.toString('pem'));
    const alternatives = new SubjectAlternativeNameExtension([
      ...['localhost', 'kubernetes.default.svc', ...names].map((value) => ({ type: 'dns' as const, value })),
      ...['127.0.0.1', ...addresses].map((value) => ({ type: 'ip' as const, value })),
    ]);
    const server = { subject: 'CN=kube-apiserver', usage: '1.3.6.1.5.5.7.3.1', names: alternatives };
    await created.#issue('apiserver', server);
    const account = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    await created.#write('sa.key', account.privateKey.export({ type: 'sec1', format: 'pem' }).toString());
    await created.#write('sa.pub', account.publicKey.export({ type: 'spki', format: 'pem' }).toString());
    return created;
  }

  path(name: string): string {
    return join(this.directory, name);
  }

  /** A kubeconfig file for a user of these names; the API server takes them from the certificate. */
  async kubeconfig(identity: ClientIdentity, server: string): Promise<string> {
    const { certificate, key } = await this.clientCertificate(identity);
    const user = { 'client-certificate': certificate, 'client-key': key };
    return await this.#writeKubeconfig(fileName(identity), { server, user });
  }

  /** Files of a client certificate for a user of these names, and of its key. */
  async clientCertificate(identity: ClientIdentity): Promise<{ certificate: string; key: string }> {
    const { user, groups = [] } = identity;
    const name = fileName(identity);
    const subject = [{ CN: [user] }, ...groups.map((group) => ({ O: [group] }))];
    await this.#issue(name, { subject, usage: '1.3.6.1.5.5.7.3.2' });
    return { certificate: this.path(`${name}.crt`), key: this.path(`${name}.key`) };
  }

  /** A kubeconfig file for whoever a bearer token says. */
  async tokenKubeconfig(name: string, token: string, server: string): Promise<string> {
    return await this.#writeKubeconfig(name, { server, user: { token } });
  }

  async #writeKubeconfig(name: string, { server, user }: { server: string; user: object }): Promise<string> {
    const config = {
      apiVersion: 'v1',
      kind: 'Config',
      'current-context': 'test',
      clusters: [{ name: 'test', cluster: { server, 'certificate-authority': this.path('ca.crt') } }],
      users: [{ name: 'me', user }],
      contexts: [{ name: 'test', context: { cluster: 'test', user: 'me' } }],
    };
    const path = this.path(`${name}.${randomBytes(4).toString('hex')}.kubeconfig`);
    await writeFile(path, JSON.stringify(config), { mode: 0o600 });
    return path;
  }

  async #issue(
    name: string,
    {
      subject,
      usage,
      names,
    }: {
      subject: string | Record<string, string[]>[];
      usage: string;
      names?: SubjectAlternativeNameExtension;
    },
  ): Promise<void> {
    const keys = await newKeys();
    const extensions = [
      new BasicConstraintsExtension(false, undefined, true),
      new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
      new ExtendedKeyUsageExtension([usage]),
      ...(names === undefined ? [] : [names]),
    ];
    const certificate = await sign({ subject, keys, extensions, issuer: this.#authority });
    await this.#write(`${name}.crt`, certificate.toString('pem'));
    const pkcs8 = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey)).toString('base64');
    await this.#write(`${name}.key`, `-----BEGIN PRIVATE KEY-----\n${pkcs8}\n-----END PRIVATE KEY-----\n`);
  }

  async #write(name: string, text: string): Promise<void> {
    await writeFile(this.path(name), text, { mode: 0o600 });
  }
}

function fileName({ user }: ClientIdentity): string {
  return user.replaceAll(/[^A-Za-z0-9.-]/g, '-');
}

const authorityExtensions = [
  new BasicConstraintsExtension(true, undefined, true),
  new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
];

async function newKeys(): Promise<webcrypto.CryptoKeyPair> {
  return await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
}

async function sign({
  subject,
  keys,
  extensions,
  issuer,
}: {
  subject: string | Record<string, string[]>[];
  keys: webcrypto.CryptoKeyPair;
  extensions: readonly Extension[];
  issuer?: KeyedCertificate;
}): Promise<X509Certificate> {
  const now = Date.now();
  return await X509CertificateGenerator.create(
    {
      serialNumber: `01${randomBytes(8).toString('hex')}`,
      subject,
      issuer: issuer?.certificate.subject ?? subject,
      notBefore: new Date(now - 60_000),
      notAfter: new Date(now + dayMs),
      signingAlgorithm: algorithm,
      publicKey: keys.publicKey,
      signingKey: (issuer?.keys ?? keys).privateKey,
      extensions: [...extensions],
    },
    webcrypto,
  );
}
