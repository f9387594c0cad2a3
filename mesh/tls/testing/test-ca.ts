// A small CA for tests of this folder, by the certificate library alone, so that it shares no code with the
// controller's. Everything about a leaf can be made wrong on purpose.

import type { Clock } from '../../runtime/clock.ts';
import { encodePem } from '../pem.ts';
import { x509 } from '../x509.ts';

export interface LeafOptions {
  readonly csrPem: string;
  /** Life from now in ms. */
  readonly lifeMs: number;
  /** URI names; default those of the request. */
  readonly uris?: readonly string[];
  readonly notBefore?: number;
  readonly ca?: boolean;
}

export class TestCa {
  readonly #clock: Clock;
  readonly #keys: CryptoKeyPairLike;
  readonly certificate: x509.X509Certificate;

  private constructor(clock: Clock, keys: CryptoKeyPairLike, certificate: x509.X509Certificate) {
    this.#clock = clock;
    this.#keys = keys;
    this.certificate = certificate;
  }

  static async create(
    clock: Clock,
    { name = 'CN=test', issuer }: { name?: string; issuer?: TestCa } = {},
  ): Promise<TestCa> {
    const keys = await generateKeys();
    const certificate = await x509.X509CertificateGenerator.create({
      subject: name,
      issuer: issuer?.certificate.subject ?? name,
      publicKey: keys.publicKey,
      signingKey: (issuer === undefined ? keys : issuer.#keys).privateKey,
      signingAlgorithm,
      notBefore: new Date(clock.now() - 60_000),
      notAfter: new Date(clock.now() + 365 * 86_400_000),
      extensions: [new x509.BasicConstraintsExtension(true, undefined, true)],
    });
    return new TestCa(clock, keys, certificate);
  }

  pem(): string {
    return encodePem('CERTIFICATE', new Uint8Array(this.certificate.rawData));
  }

  async leaf({ csrPem, lifeMs, uris, notBefore, ca = false }: LeafOptions): Promise<string> {
    const request = new x509.Pkcs10CertificateRequest(csrPem);
    const asked = request.getExtension('2.5.29.17') as x509.SubjectAlternativeNameExtension;
    const names = uris?.map((value) => ({ type: 'url', value }) as const);
    const certificate = await x509.X509CertificateGenerator.create({
      issuer: this.certificate.subject,
      publicKey: request.publicKey,
      signingKey: this.#keys.privateKey,
      signingAlgorithm,
      notBefore: new Date(notBefore ?? this.#clock.now()),
      notAfter: new Date(this.#clock.now() + lifeMs),
      extensions: [
        new x509.BasicConstraintsExtension(ca, undefined, true),
        names === undefined ? asked : new x509.SubjectAlternativeNameExtension(names, true),
      ],
    });
    return encodePem('CERTIFICATE', new Uint8Array(certificate.rawData));
  }
}

const signingAlgorithm = { name: 'ECDSA', hash: 'SHA-256' } as const;

type CryptoKeyPairLike = Awaited<ReturnType<typeof generateKeys>>;

async function generateKeys() {
  return await crypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, true, ['sign', 'verify']);
}
