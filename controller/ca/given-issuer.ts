// A CA that somebody else made for the mesh: a certificate and key to sign with, and the roots to trust. In the form of
// Istio's `cacerts` or of what cert-manager writes; from a Secret or from a directory of files with the same names. It
// is read anew from time to time, so that a renewal needs no restart.

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { readPrivateFile } from '../../mesh/runtime/private-file.ts';
import { decodePem, encodePem } from '../../mesh/tls/pem.ts';
import type { KubeClient } from '../kubernetes/kube-client.ts';
import { KubeError } from '../kubernetes/kube-error.ts';
import { CaError } from './ca-error.ts';
import type { RootRecord } from './ca-state.ts';
import { createPrivateKey } from 'node:crypto';
import { readRoot } from './root-certificate.ts';

export interface IssuerSource {
  /** For logs and messages. */
  readonly place: string;
  /** Undefined if there is none. Throws CaError `issuer-unusable` for one that can not sign, and `state-file`. */
  read(): Promise<RootRecord | undefined>;
}

/** File names, as keys of a Secret too: [certificate, key, roots, chain]. */
const forms = [
  { certificate: 'ca-cert.pem', key: 'ca-key.pem', roots: 'root-cert.pem', chain: 'cert-chain.pem' },
  { certificate: 'tls.crt', key: 'tls.key', roots: 'ca.crt', chain: undefined },
] as const;

/** @param read gives the content of a file of that name, undefined if there is none */
async function readForm(
  place: string,
  read: (name: string) => Promise<string | undefined>,
): Promise<RootRecord | undefined> {
  for (const form of forms) {
    const certificates = await read(form.certificate);
    if (certificates === undefined) continue;
    const required = async (name: string): Promise<string> => {
      const text = await read(name);
      if (text === undefined) throw unusable(place, `it has "${form.certificate}" but no "${name}"`);
      return text;
    };
    const [key, roots] = [await required(form.key), await required(form.roots)];
    const chain = form.chain === undefined ? undefined : await read(form.chain);
    return issuerRecord(place, { certificates, key, roots, chain });
  }
  return undefined;
}

function issuerRecord(
  place: string,
  text: { certificates: string; key: string; roots: string; chain: string | undefined },
): RootRecord {
  try {
    const [own, ...above] = decodePem('CERTIFICATE', text.certificates) as [Buffer, ...Buffer[]];
    const chain =
      text.chain === undefined || text.chain.trim() === '' ? [] : decodePem('CERTIFICATE', text.chain);
    // Istio's chain begins with the signing certificate itself.
    const between = [...above, ...chain].filter((der) => !der.equals(own));
    const record: RootRecord = {
      certificatePem: encodePem('CERTIFICATE', own),
      ...(between.length > 0 && { chainPem: pemOf(unique(between)) }),
      anchorsPem: pemOf(unique(decodePem('CERTIFICATE', text.roots))),
      privateKeyPem: createPrivateKey(text.key).export({ type: 'pkcs8', format: 'pem' }).toString(),
      issuedUntil: 0,
    };
    readRoot(record);
    return record;
  } catch (error) {
    throw unusable(place, error instanceof Error ? error.message : String(error));
  }
}

/** The keys of a Secret in the controller's namespace. */
export class SecretIssuer implements IssuerSource {
  readonly place: string;
  readonly #client: Pick<KubeClient, 'request'>;
  readonly #path: string;

  constructor(
    client: Pick<KubeClient, 'request'>,
    secret: { readonly namespace: string; readonly name: string },
  ) {
    const { namespace, name } = secret;
    this.place = `secret ${namespace}/${name}`;
    this.#client = client;
    this.#path = `/api/v1/namespaces/${namespace}/secrets/${name}`;
  }

  async read(): Promise<RootRecord | undefined> {
    const secret = await this.#get();
    const data = secret?.data ?? {};
    return await readForm(this.place, async (name) => {
      const value = data[name];
      return value === undefined ? undefined : Buffer.from(value, 'base64').toString('utf8');
    });
  }

  async #get(): Promise<{ readonly data?: Readonly<Record<string, string>> | null } | undefined> {
    try {
      return await this.#client.request({ path: this.#path });
    } catch (error) {
      if (error instanceof KubeError && error.code === 'NOT_FOUND') return undefined;
      const why = error instanceof Error ? error.message : String(error);
      throw new CaError('state-file', `Reading ${this.place} failed: ${why}`, { cause: error });
    }
  }
}

/** Files in a directory. The key must be readable by its owner only. */
export class DirectoryIssuer implements IssuerSource {
  readonly place: string;

  constructor(directory: string) {
    this.place = directory;
  }

  async read(): Promise<RootRecord | undefined> {
    const record = await readForm(this.place, async (name) => {
      const path = join(this.place, name);
      const isKey = forms.some(({ key }) => key === name);
      try {
        return isKey ? await readPrivateFile(path) : await readFile(path, 'utf8');
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
        const why = error instanceof Error ? error.message : String(error);
        throw new CaError('state-file', `Reading "${path}" failed: ${why}`, { cause: error });
      }
    });
    if (record === undefined) throw unusable(this.place, 'it has neither "ca-cert.pem" nor "tls.crt"');
    return record;
  }
}

function unusable(place: string, why: string): CaError {
  return new CaError('issuer-unusable', `CA in ${place} can not be used: ${why}`);
}

function pemOf(certificates: readonly Buffer[]): string {
  return certificates.map((der) => encodePem('CERTIFICATE', der)).join('');
}

function unique(certificates: readonly Buffer[]): Buffer[] {
  return certificates.filter((der, index) => certificates.findIndex((other) => other.equals(der)) === index);
}
