// A root and one ECDSA P-256 certificate for each side of a proxy pair, of the same kind and size as a workload
// certificate of the mesh: SPIFFE URI as the only name, one level of issuer.

import 'reflect-metadata';
import { webcrypto } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  BasicConstraintsExtension,
  cryptoProvider,
  KeyUsageFlags,
  KeyUsagesExtension,
  SubjectAlternativeNameExtension,
  X509CertificateGenerator,
} from '@peculiar/x509';
import { encodePem } from '../../mesh/tls/pem.ts';

const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
const dayMs = 86_400_000;

export interface MutualTlsFiles {
  readonly root: string;
  /** Certificate, then its key, in one file: nginx and HAProxy both take that. */
  readonly client: string;
  readonly server: string;
  /** DNS name in the server's certificate, for proxies that check one. */
  readonly serverName: string;
}

export async function writeMutualTlsFiles(directory: string): Promise<MutualTlsFiles> {
  cryptoProvider.set(webcrypto as never);
  const now = Date.now();
  const validity = { notBefore: new Date(now - dayMs), notAfter: new Date(now + dayMs) };
  const rootKeys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const root = await X509CertificateGenerator.createSelfSigned({
    ...validity,
    name: 'CN=Bench root',
    keys: rootKeys as never,
    signingAlgorithm: algorithm,
    extensions: [
      new BasicConstraintsExtension(true, undefined, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign, true),
    ],
  });
  const serverName = 'server.bench';
  const issue = async (name: string): Promise<string> => {
    const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
    const certificate = await X509CertificateGenerator.create({
      ...validity,
      subject: `CN=${name}`,
      issuer: root.subject,
      publicKey: keys.publicKey as never,
      signingKey: rootKeys.privateKey,
      signingAlgorithm: algorithm,
      extensions: [
        new SubjectAlternativeNameExtension([
          { type: 'url', value: `spiffe://cluster.local/ns/bench/sa/${name}` },
          { type: 'dns', value: `${name}.bench` },
        ]),
      ],
    });
    const key = new Uint8Array(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey));
    const file = join(directory, `tls-${name}.pem`);
    writeFileSync(file, `${certificate.toString('pem')}\n${encodePem('PRIVATE KEY', key)}`, { mode: 0o600 });
    return file;
  };
  const rootFile = join(directory, 'tls-root.pem');
  writeFileSync(rootFile, `${root.toString('pem')}\n`);
  return { root: rootFile, client: await issue('client'), server: await issue('server'), serverName };
}
