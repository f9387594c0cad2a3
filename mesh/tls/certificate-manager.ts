// Keeps one certificate for each identity that somebody wants, and renews it in time. A certificate is shared by all
// pods of a service account; the last reference to go forgets it. Invariants: at most `maxParallel` requests are under
// way; an identity has at most one; a certificate is handed out until it expires and never after.

import { formatSpiffeId, type Identity, type SpiffeId } from '../model/spiffe-id.ts';
import { Backoff } from '../runtime/backoff.ts';
import type { Clock, Timer } from '../runtime/clock.ts';
import type { Logger } from '../runtime/logger.ts';
import { fetchCertificate } from './certificate-client.ts';
import { CertificateError, type CertificateErrorCode } from './certificate-error.ts';
import type { CertificateSigner } from './certificate-signer.ts';
import type { WorkloadCertificate } from './workload-certificate.ts';

export interface CertificateManagerOptions {
  readonly signer: CertificateSigner;
  readonly clock: Clock;
  readonly logger: Logger;
  /** A number in [0, 1); default Math.random. */
  readonly random?: () => number;
  /** Asked life of a certificate in seconds; default 24 h. */
  readonly ttlSeconds?: number;
  /** Requests under way at once; default 8. */
  readonly maxParallel?: number;
}

export type CertificateListener = (certificate: WorkloadCertificate) => void;

/** One line of the config dump. Holds no private key. */
export interface CertificateState {
  readonly identity: SpiffeId;
  /** `available` also while a renewal fails, as long as the certificate is valid. */
  readonly state: 'initializing' | 'available' | 'failed';
  /** The last attempt's error, if it failed. */
  readonly error?: { readonly code: CertificateErrorCode | 'internal'; readonly message: string };
  readonly notBefore?: number;
  readonly notAfter?: number;
  readonly serial?: string;
  readonly chainPem?: string;
  readonly rootsPem?: string;
}

interface Entry {
  readonly identity: Identity;
  readonly spiffeId: SpiffeId;
  readonly backoff: Backoff;
  /** Aborted when the last reference goes, so that a late reply changes nothing. */
  readonly abort: AbortController;
  references: number;
  timer: Timer | undefined;
  certificate: WorkloadCertificate | undefined;
  error: { code: CertificateErrorCode | 'internal'; message: string } | undefined;
}

const defaultTtlSeconds = 86_400;
const renewalJitter = 0.1;
/** A signer that gives out very short lives must not be asked in a tight loop. */
const minRenewalDelayMs = 1000;
/** Timers stand still while a machine is suspended and overflow after 24 days, so a long wait is made of short ones. */
const maxTimerMs = 600_000;

export class CertificateManager {
  readonly #signer: CertificateSigner;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #random: () => number;
  readonly #ttlSeconds: number;
  readonly #maxParallel: number;
  readonly #entries = new Map<SpiffeId, Entry>();
  readonly #listeners = new Set<CertificateListener>();
  readonly #waiting = new Set<Entry>();
  #underWay = 0;
  #closed = false;

  constructor(options: CertificateManagerOptions) {
    this.#signer = options.signer;
    this.#clock = options.clock;
    this.#logger = options.logger;
    this.#random = options.random ?? Math.random;
    this.#ttlSeconds = options.ttlSeconds ?? defaultTtlSeconds;
    this.#maxParallel = options.maxParallel ?? 8;
  }

  /** Takes a reference; the first one starts fetching. Each call needs one `release`. */
  want(identity: Identity): void {
    if (this.#closed) throw new Error('Wanting a certificate of a closed CertificateManager');
    const spiffeId = formatSpiffeId(identity);
    const known = this.#entries.get(spiffeId);
    if (known !== undefined) {
      known.references++;
      return;
    }
    const backoff = new Backoff({ minMs: 1000, maxMs: 150_000, jitter: 0.2, random: this.#random });
    const entry: Entry = {
      identity,
      spiffeId,
      backoff,
      abort: new AbortController(),
      references: 1,
      timer: undefined,
      certificate: undefined,
      error: undefined,
    };
    this.#entries.set(spiffeId, entry);
    this.#enqueue(entry);
  }

  /** Gives a reference back; the last one forgets the certificate. Unknown identities are ignored. */
  release(identity: Identity): void {
    const entry = this.#entries.get(formatSpiffeId(identity));
    if (entry === undefined || --entry.references > 0) return;
    this.#forget(entry);
  }

  /** The certificate to use now; undefined before the first one and after expiry. */
  get(identity: Identity): WorkloadCertificate | undefined {
    const entry = this.#entries.get(formatSpiffeId(identity));
    return entry && this.#valid(entry);
  }

  /**
   * Calls `listener` at once with every valid certificate and then with each new one. Returns how to stop. A listener
   * that throws is logged and harms nobody.
   */
  subscribe(listener: CertificateListener): () => void {
    this.#listeners.add(listener);
    for (const entry of this.#entries.values()) {
      const certificate = this.#valid(entry);
      if (certificate !== undefined) this.#tell(listener, certificate);
    }
    return () => this.#listeners.delete(listener);
  }

  /** For the config dump, sorted by identity. */
  state(): CertificateState[] {
    const entries = [...this.#entries.values()].sort((a, b) => (a.spiffeId < b.spiffeId ? -1 : 1));
    return entries.map((entry) => {
      const { notBefore, notAfter, serial, chainPem, rootsPem } = entry.certificate ?? {};
      const valid = this.#valid(entry) !== undefined;
      const failed = entry.error !== undefined || entry.certificate !== undefined;
      return {
        identity: entry.spiffeId,
        state: valid ? 'available' : failed ? 'failed' : 'initializing',
        ...(entry.error && { error: entry.error }),
        ...(entry.certificate && { notBefore, notAfter, serial, chainPem, rootsPem }),
      } as CertificateState;
    });
  }

  /** Stops every timer and request and forgets all certificates. Idempotent. */
  close(): void {
    this.#closed = true;
    for (const entry of [...this.#entries.values()]) this.#forget(entry);
    this.#listeners.clear();
  }

  #forget(entry: Entry): void {
    this.#entries.delete(entry.spiffeId);
    this.#waiting.delete(entry);
    entry.timer?.cancel();
    entry.abort.abort();
  }

  #valid(entry: Entry): WorkloadCertificate | undefined {
    const { certificate } = entry;
    return certificate !== undefined && certificate.notAfter > this.#clock.now() ? certificate : undefined;
  }

  #enqueue(entry: Entry): void {
    this.#waiting.add(entry);
    this.#pump();
  }

  #pump(): void {
    while (this.#underWay < this.#maxParallel) {
      const entry = this.#nextWaiting();
      if (entry === undefined) return;
      this.#waiting.delete(entry);
      this.#underWay++;
      void this.#fetch(entry).finally(() => {
        this.#underWay--;
        this.#pump();
      });
    }
  }

  /** Who has no certificate goes before who only renews; then first come, first served. */
  #nextWaiting(): Entry | undefined {
    let first: Entry | undefined;
    for (const entry of this.#waiting) {
      if (entry.certificate === undefined) return entry;
      first ??= entry;
    }
    return first;
  }

  async #fetch(entry: Entry): Promise<void> {
    const { signal } = entry.abort;
    try {
      const certificate = await fetchCertificate(entry.identity, {
        signer: this.#signer,
        clock: this.#clock,
        ttlSeconds: this.#ttlSeconds,
        signal,
      });
      if (!signal.aborted) this.#accept(entry, certificate);
    } catch (error) {
      if (!signal.aborted) this.#fail(entry, error);
    }
  }

  #accept(entry: Entry, certificate: WorkloadCertificate): void {
    entry.certificate = certificate;
    entry.error = undefined;
    entry.backoff.reset();
    const now = this.#clock.now();
    // From now, not from notBefore: a CA that backdates by a minute would otherwise have a one-minute certificate
    // renewed without a pause.
    const life = certificate.notAfter - Math.max(certificate.notBefore, now);
    const half = life * (0.5 + renewalJitter * (this.#random() - 0.5));
    this.#enqueueAt(entry, now + Math.max(minRenewalDelayMs, half));
    const { serial, notAfter } = certificate;
    this.#logger.debug({ identity: entry.spiffeId, serial, notAfter }, 'certificate available');
    for (const listener of this.#listeners) this.#tell(listener, certificate);
  }

  #fail(entry: Entry, error: unknown): void {
    const code = error instanceof CertificateError ? error.code : 'internal';
    entry.error = { code, message: error instanceof Error ? error.message : String(error) };
    const retryMs = entry.backoff.next();
    const stillValid = this.#valid(entry) !== undefined;
    this.#logger.warn({ identity: entry.spiffeId, code, err: error, retryMs, stillValid }, 'no certificate');
    this.#enqueueAt(entry, this.#clock.now() + retryMs);
  }

  #enqueueAt(entry: Entry, at: number): void {
    const delay = at - this.#clock.now();
    entry.timer = this.#clock.after(
      Math.min(Math.max(delay, 0), maxTimerMs),
      () => (this.#clock.now() >= at ? this.#enqueue(entry) : this.#enqueueAt(entry, at)),
      { unref: true },
    );
  }

  #tell(listener: CertificateListener, certificate: WorkloadCertificate): void {
    try {
      listener(certificate);
    } catch (error) {
      this.#logger.error({ identity: certificate.spiffeId, err: error }, 'certificate listener failed');
    }
  }
}
