// The certificate of the controller's own gRPC endpoint, signed by the mesh's root so that a node needs one file to
// trust both. Renews itself at half life and when the signing root changes. Each one has a fresh key.

import type { IpAddress } from '../../mesh/model/ip-address.ts';
import { ipToBytes } from '../../mesh/model/ip-address.ts';
import type { Clock, Timer } from '../../mesh/runtime/clock.ts';
import type { Logger } from '../../mesh/runtime/logger.ts';
import { encodePem } from '../../mesh/tls/pem.ts';
import type { CertificateAuthority } from './certificate-authority.ts';
import type { SubjectName } from './leaf-certificate.ts';

export interface ServerCertificateOptions {
  readonly authority: CertificateAuthority;
  readonly clock: Clock;
  readonly logger: Logger;
  /** DNS names that clients dial; ASCII. With `ipAddresses` at least one. */
  readonly dnsNames: readonly string[];
  readonly ipAddresses: readonly IpAddress[];
  /** Asked life in seconds; default 24 h. */
  readonly lifeSeconds?: number;
}

export interface ServerKeyPair {
  /** PKCS#8. */
  readonly privateKeyPem: string;
  readonly chainPem: string;
  /** Wall clock in ms. */
  readonly notAfter: number;
  readonly serial: string;
}

const retryMs = 10_000;
const minRenewalDelayMs = 1000;
const maxTimerMs = 600_000;
const dnsLabel = /^[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?$/;

export class ServerCertificate {
  readonly #options: ServerCertificateOptions;
  readonly #names: readonly SubjectName[];
  readonly #listeners = new Set<(pair: ServerKeyPair) => void>();
  readonly #stopWatching: () => void;
  #current: ServerKeyPair;
  #timer: Timer | undefined;
  #closed = false;

  private constructor(
    options: ServerCertificateOptions,
    names: readonly SubjectName[],
    first: ServerKeyPair,
  ) {
    this.#options = options;
    this.#names = names;
    this.#current = first;
    this.#stopWatching = options.authority.subscribe(() => void this.#renew());
    this.#arm();
  }

  /** Throws CaError, and RangeError for names that no certificate can hold. */
  static async open(options: ServerCertificateOptions): Promise<ServerCertificate> {
    const names = subjectNames(options);
    return new ServerCertificate(options, names, await issue(options, names));
  }

  current(): ServerKeyPair {
    return this.#current;
  }

  /** Calls `listener` at once with the current pair and then with each new one. Returns how to stop. */
  subscribe(listener: (pair: ServerKeyPair) => void): () => void {
    this.#listeners.add(listener);
    listener(this.#current);
    return () => this.#listeners.delete(listener);
  }

  /** Idempotent. */
  close(): void {
    this.#closed = true;
    this.#stopWatching();
    this.#timer?.cancel();
    this.#listeners.clear();
  }

  async #renew(): Promise<void> {
    if (this.#closed) return;
    this.#timer?.cancel();
    try {
      const pair = await issue(this.#options, this.#names);
      if (this.#closed) return;
      this.#current = pair;
      this.#arm();
      for (const listener of this.#listeners) listener(pair);
    } catch (error) {
      this.#options.logger.error({ err: error, retryMs }, 'renewing the server certificate failed');
      this.#schedule(retryMs);
    }
  }

  #arm(): void {
    const life = this.#current.notAfter - this.#options.clock.now();
    this.#schedule(Math.max(life / 2, minRenewalDelayMs));
  }

  /** In pieces: timers stand still while a machine is suspended. */
  #schedule(delayMs: number): void {
    const { clock } = this.#options;
    const at = clock.now() + delayMs;
    this.#timer?.cancel();
    if (this.#closed) return;
    const check = () => {
      if (clock.now() >= at) void this.#renew();
      else this.#schedule(at - clock.now());
    };
    this.#timer = clock.after(Math.min(delayMs, maxTimerMs), check, { unref: true });
  }
}

async function issue(
  { authority, lifeSeconds = 86_400 }: ServerCertificateOptions,
  names: readonly SubjectName[],
): Promise<ServerKeyPair> {
  const keys = await crypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, true, [
    'sign',
    'verify',
  ]);
  const pkcs8 = await crypto.subtle.exportKey('pkcs8', keys.privateKey);
  const publicKeyDer = new Uint8Array(await crypto.subtle.exportKey('spki', keys.publicKey));
  const { entries, notAfter, serial } = await authority.certifyOwn(lifeSeconds, {
    publicKeyDer,
    names,
    usages: ['server'],
  });
  const [chainPem = ''] = entries;
  return { privateKeyPem: encodePem('PRIVATE KEY', new Uint8Array(pkcs8)), chainPem, notAfter, serial };
}

function subjectNames({ dnsNames, ipAddresses }: ServerCertificateOptions): SubjectName[] {
  for (const name of dnsNames) {
    if (name.length > 253 || !name.split('.').every((label) => dnsLabel.test(label))) {
      throw new RangeError(`Server name "${name}" is not a DNS name`);
    }
  }
  const names: SubjectName[] = [
    ...dnsNames.map((value) => ({ kind: 'dns', value }) as const),
    ...ipAddresses.map((ip) => ({ kind: 'ip', value: ipToBytes(ip) }) as const),
  ];
  if (names.length === 0) throw new RangeError('A server certificate needs a name or an address');
  return names;
}
