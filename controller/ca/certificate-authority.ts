// The mesh's certificate authority: signs requests of workloads and certificates of the controller's own servers with
// a root that it keeps in the state directory, and moves the mesh to a new root without a break. Who may have which
// identity is not decided here (identity/certificate-service.ts). Invariant: before a certificate leaves, the state
// file says that the root has issued one that lives as long; the rotation waits on that.

import type { Identity, SpiffeId } from '../../mesh/model/spiffe-id.ts';
import { formatSpiffeId } from '../../mesh/model/spiffe-id.ts';
import type { Clock, Timer } from '../../mesh/runtime/clock.ts';
import type { Logger } from '../../mesh/runtime/logger.ts';
import { encodePem } from '../../mesh/tls/pem.ts';
import { CaError } from './ca-error.ts';
import {
  adoptIssuer,
  advanceRotation,
  type CaState,
  initialState,
  prepareRotation,
  type RotationPhase,
  signingIndex,
  withIssuedUntil,
} from './ca-state.ts';
import { CaStateFile, type LoadedState } from './ca-state-file.ts';
import type { CaStateStore } from './ca-state-store.ts';
import { checkCsr } from './csr-check.ts';
import type { IssuerSource } from './given-issuer.ts';
import { type LeafProfile, signLeaf } from './leaf-certificate.ts';
import { createRoot, type Root } from './root-certificate.ts';

export interface CertificateAuthorityOptions {
  /** Directory of the controller's state; made if missing. */
  readonly stateDir: string;
  /** Where the state is instead, if replicas share it. */
  readonly store?: CaStateStore;
  /** A CA that somebody else made and renews; where it has none, the mesh has a root of its own. */
  readonly given?: IssuerSource;
  readonly clock: Clock;
  readonly logger: Logger;
  /** How often to look for what another replica or the giver of the CA wrote, ms; default 15,000, 0 never. */
  readonly refreshMs?: number;
  /** Life of a certificate nobody asked a life for; default 24 h. */
  readonly defaultLifeSeconds?: number;
  /** Shorter wishes are raised to this; default 60. */
  readonly minLifeSeconds?: number;
  /** Longer wishes are cut to this; default 7 days. */
  readonly maxLifeSeconds?: number;
}

export interface SignRequest {
  /** Granted by the caller; the request must ask for exactly this. */
  readonly identity: Identity;
  /** Asked life; absent, 0 or negative: the default. */
  readonly lifeSeconds?: number;
}

export interface IssuedCertificate {
  /** PEM: leaf, intermediates one by one, then the roots concatenated (WIRE 4). */
  readonly entries: readonly string[];
  readonly serial: string;
  /** Wall clock in ms. */
  readonly notBefore: number;
  /** Wall clock in ms. */
  readonly notAfter: number;
}

export interface RotationStatus {
  readonly phase: RotationPhase;
  /** Key identifier of the root that signs. */
  readonly signing: string;
  /** Key identifiers of the roots that are trusted. */
  readonly trusted: readonly string[];
  /** Where the signing CA was given; absent: the mesh made it. */
  readonly givenBy?: string;
  /** Wall clock in ms of the next step, while a rotation is under way. */
  readonly nextStepAt?: number;
}

/** What goes into a certificate, but for the times. */
export type CertifiedKey = Omit<LeafProfile, 'notBefore' | 'notAfter'>;

/** Wall clock in ms, whole seconds. */
interface Life {
  readonly from: number;
  readonly until: number;
  readonly ms: number;
}

const maxBackdateMs = 60_000;
const maxWriteAheadMs = 3_600_000;
/** Timers stand still while a machine is suspended, so a long wait is made of short ones. */
const maxTimerMs = 600_000;
const retryMs = 60_000;
const defaultRefreshMs = 15_000;
const rootWarningMs = 365 * 86_400_000;
/** Kubernetes names; keeps the URI ASCII and free of separators. */
const identityPart = /^[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?$/;

export class CertificateAuthority {
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #store: CaStateStore;
  readonly #given: IssuerSource | undefined;
  /** The source has had one: the mesh makes no root of its own any more. */
  #isGiven = false;
  readonly #life: { readonly default: number; readonly min: number; readonly max: number };
  readonly #listeners = new Set<() => void>();
  #loaded: LoadedState;
  /** Changes of the state go one after the other. */
  #lastChange: Promise<unknown> = Promise.resolve();
  #timer: Timer | undefined;
  readonly #refreshMs: number;
  #refreshTimer: Timer | undefined;
  #writingAhead = false;
  #closed = false;

  private constructor(options: CertificateAuthorityOptions, store: CaStateStore, loaded: LoadedState) {
    const { defaultLifeSeconds = 86_400, minLifeSeconds = 60, maxLifeSeconds = 7 * 86_400 } = options;
    if (!(minLifeSeconds >= 1 && minLifeSeconds <= maxLifeSeconds)) {
      throw new RangeError(
        `Certificate life bounds ${minLifeSeconds} to ${maxLifeSeconds} seconds are no range`,
      );
    }
    const clamped = Math.min(Math.max(defaultLifeSeconds, minLifeSeconds), maxLifeSeconds);
    this.#clock = options.clock;
    this.#logger = options.logger;
    this.#life = { default: clamped, min: minLifeSeconds, max: maxLifeSeconds };
    this.#store = store;
    this.#given = options.given;
    const shared = options.store !== undefined || options.given !== undefined;
    this.#refreshMs = shared ? (options.refreshMs ?? defaultRefreshMs) : 0;
    this.#loaded = loaded;
    this.#armRotation();
    this.#refreshLater();
  }

  /** Loads the root, or makes one at the first start. Throws CaError `state-file`, `state-corrupt` or `issuer-unusable`. */
  static async open(options: CertificateAuthorityOptions): Promise<CertificateAuthority> {
    const { stateDir, clock, logger, store = new CaStateFile(stateDir) } = options;
    let loaded = await store.load();
    if (loaded === undefined) {
      const given = await options.given?.read();
      loaded = await createState(store, initialState(given ?? (await createRoot(clock.now()))));
      const place = given === undefined ? store.place : options.given?.place;
      logger.info(
        { place, root: loaded.roots[0]?.id },
        given ? 'root certificate given' : 'root certificate made',
      );
    }
    const authority = new CertificateAuthority(options, store, loaded);
    await authority.#adoptGiven();
    const { id, notAfter } = authority.#signing();
    if (notAfter - clock.now() < rootWarningMs) {
      logger.warn({ root: id, notAfter: new Date(notAfter).toISOString() }, 'root certificate expires soon');
    }
    return authority;
  }

  /** Every trusted root, the signing one first. */
  rootsPem(): string {
    const signing = this.#signing();
    const others = this.#loaded.roots.filter((root) => root !== signing);
    return [signing, ...others].map((root) => root.anchorsPem).join('');
  }

  /** Signs a workload's request. Throws CaError. */
  async sign(csrPem: string, { identity, lifeSeconds = 0 }: SignRequest): Promise<IssuedCertificate> {
    const spiffeId = certifiableId(identity);
    const publicKeyDer = await checkCsr(csrPem, spiffeId);
    const life = this.#lifeFor(lifeSeconds);
    const root = await this.#reserve(life);
    return await this.#certify(root, life, {
      publicKeyDer,
      names: [{ kind: 'uri', value: spiffeId }],
      usages: ['server', 'client'],
    });
  }

  /**
   * Certifies a key of the controller's own; the caller vouches for key and names and asks again after each step of a
   * rotation (`subscribe`), so that the rotation need not wait for these. Throws CaError.
   */
  async certifyOwn(lifeSeconds: number, profile: CertifiedKey): Promise<IssuedCertificate> {
    return await this.#certify(this.#signing(), this.#lifeFor(lifeSeconds), profile);
  }

  rotation(): RotationStatus {
    const { state, roots } = this.#loaded;
    return {
      phase: state.phase,
      signing: this.#signing().id,
      trusted: roots.map((root) => root.id),
      ...(this.#isGiven && this.#given !== undefined && { givenBy: this.#given.place }),
      ...(state.phase !== 'stable' && { nextStepAt: state.nextStepAt }),
    };
  }

  /**
   * Makes a second root and has it trusted beside the first. The further steps come by themselves as soon as they
   * break nobody, also after a restart. Throws CaError `rotation-step`.
   */
  async startRotation(): Promise<RotationStatus> {
    if (this.#isGiven) {
      const message = `Starting a root rotation failed: the CA is given by ${this.#given?.place}; put the next one there`;
      throw new CaError('rotation-step', message);
    }
    const next = await createRoot(this.#clock.now());
    return await this.#rotate((state) => prepareRotation(state, next));
  }

  /** Takes the next step now. Throws CaError `rotation-too-early` unless forced, and `rotation-step`. */
  async advanceRotation({ force = false }: { readonly force?: boolean } = {}): Promise<RotationStatus> {
    return await this.#rotate((state) => advanceRotation(state, { now: this.#clock.now(), force }));
  }

  /** Calls `listener` after each step of a rotation: signing root or trusted roots have changed. */
  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Stops the timers. Idempotent. */
  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
    this.#refreshTimer?.cancel();
    this.#listeners.clear();
  }

  #lifeFor(lifeSeconds: number): Life {
    const from = Math.floor(this.#clock.now() / 1000) * 1000;
    const wished = lifeSeconds > 0 ? lifeSeconds : this.#life.default;
    const ms = Math.ceil(Math.min(Math.max(wished, this.#life.min), this.#life.max)) * 1000;
    return { from, until: from + ms, ms };
  }

  async #certify(root: Root, { from, until, ms }: Life, profile: CertifiedKey): Promise<IssuedCertificate> {
    if (root.notAfter <= from) {
      const end = new Date(root.notAfter).toISOString();
      throw new CaError('root-expired', `Root certificate "${root.id}" expired at ${end}; rotate it`);
    }
    // A quarter of the life at most: a peer that renews at half of the whole span must not find that in the past.
    const notBefore = from - Math.min(maxBackdateMs, Math.floor(ms / 4000) * 1000);
    const notAfter = Math.min(until, root.notAfter);
    const { der, serial } = await signLeaf(root, { ...profile, notBefore, notAfter });
    const entries = [encodePem('CERTIFICATE', der), ...root.chain, this.rootsPem()];
    return { entries, serial, notBefore, notAfter };
  }

  /** The root to sign with, after the state file says that it issued certificates valid as long as this one. */
  async #reserve(life: Life): Promise<Root> {
    const aheadMs = Math.min(maxWriteAheadMs, life.ms);
    // A rotation's step can come between; the new root then needs its own mark.
    while (issuedUntil(this.#loaded.state) < life.until) await this.#writeAhead(life.until, aheadMs);
    // Before it is due: signing then goes on while the store is away, for half of the write-ahead at least.
    const isLow = issuedUntil(this.#loaded.state) < life.until + aheadMs / 2;
    if (isLow && !this.#writingAhead) {
      this.#writingAhead = true;
      void this.#writeAhead(life.until + aheadMs / 2, aheadMs / 2)
        .catch((error: unknown) => this.#logger.warn({ err: error }, 'writing ahead failed, signing goes on'))
        .finally(() => {
          this.#writingAhead = false;
        });
    }
    return this.#signing();
  }

  /** Written ahead, so that not every certificate costs a write. */
  async #writeAhead(until: number, aheadMs: number): Promise<void> {
    await this.#change((state) =>
      issuedUntil(state) < until ? withIssuedUntil(state, until + aheadMs) : state,
    );
  }

  async #rotate(step: (state: CaState) => CaState): Promise<RotationStatus> {
    await this.#change(step);
    this.#armRotation();
    const status = this.rotation();
    this.#logger.info({ ...status }, 'root rotation advanced');
    for (const listener of this.#listeners) listener();
    return status;
  }

  /** Memory changes only after the disk did. */
  async #change(step: (state: CaState) => CaState): Promise<void> {
    const change = this.#lastChange.then(async () => {
      for (;;) {
        const state = step(this.#loaded.state);
        if (state === this.#loaded.state) return;
        try {
          this.#loaded = await this.#store.save(state);
          return;
        } catch (error) {
          if (!(error instanceof CaError) || error.code !== 'state-conflict') throw error;
          await this.#reload();
        }
      }
    });
    this.#lastChange = change.catch(() => undefined);
    await change;
  }

  /** Takes over what another replica wrote. Only a step of a rotation is news to anybody. */
  async #reload(): Promise<void> {
    const loaded = await this.#store.load();
    if (loaded === undefined) {
      throw new CaError(
        'state-file',
        `Root certificate in ${this.#store.place} is gone; restore it from a backup`,
      );
    }
    const ids = (state: LoadedState): string =>
      `${state.state.phase} ${state.roots.map(({ id }) => id).join()}`;
    const isStep = ids(loaded) !== ids(this.#loaded);
    this.#loaded = loaded;
    if (!isStep) return;
    this.#armRotation();
    this.#logger.info({ ...this.rotation() }, 'root rotation advanced by another replica');
    for (const listener of this.#listeners) listener();
  }

  /** Looks for what another replica wrote; a store that does not answer changes nothing. */
  async refresh(): Promise<void> {
    const refresh = this.#lastChange.then(() => this.#reload());
    this.#lastChange = refresh.catch(() => undefined);
    await refresh;
    await this.#adoptGiven();
  }

  /** Signs with what the source gives from now on, or begins the way there. */
  async #adoptGiven(): Promise<void> {
    const given = await this.#given?.read();
    if (given === undefined) return;
    this.#isGiven = true;
    const before = this.#loaded;
    await this.#change((state) => adoptIssuer(state, given));
    if (this.#loaded === before) return;
    this.#armRotation();
    this.#logger.info({ ...this.rotation() }, 'given CA taken over');
    for (const listener of this.#listeners) listener();
  }

  #refreshLater(): void {
    if (this.#refreshMs === 0 || this.#closed) return;
    const look = async (): Promise<void> => {
      await this.refresh().catch((error: unknown) => {
        const reason = error instanceof Error ? error.message : String(error);
        if (!this.#closed)
          this.#logger.warn({ reason }, 'root certificate could not be looked up, keeping it');
      });
      this.#refreshLater();
    };
    this.#refreshTimer = this.#clock.after(this.#refreshMs, () => void look(), { unref: true });
  }

  #armRotation(minDelayMs = 0): void {
    this.#timer?.cancel();
    const { state } = this.#loaded;
    if (state.phase === 'stable' || this.#closed) return;
    const delay = Math.max(state.nextStepAt - this.#clock.now(), minDelayMs);
    this.#timer = this.#clock.after(Math.min(delay, maxTimerMs), () => void this.#takeDueStep(), {
      unref: true,
    });
  }

  async #takeDueStep(): Promise<void> {
    const { state } = this.#loaded;
    if (state.phase === 'stable' || this.#closed) return;
    if (this.#clock.now() < state.nextStepAt) return this.#armRotation();
    try {
      await this.advanceRotation();
    } catch (error) {
      // Another replica has taken the step.
      const taken = error instanceof CaError && ['rotation-step', 'rotation-too-early'].includes(error.code);
      if (taken && this.#loaded.state !== state) return this.#armRotation();
      this.#logger.error({ err: error, phase: state.phase }, 'root rotation stuck');
      this.#armRotation(retryMs);
    }
  }

  #signing(): Root {
    const { state, roots } = this.#loaded;
    return roots[signingIndex(state)] as Root;
  }
}

/** Of replicas that start at once, one makes the root and the others take it. */
async function createState(store: CaStateStore, state: CaState): Promise<LoadedState> {
  try {
    return await store.create(state);
  } catch (error) {
    const loaded =
      error instanceof CaError && error.code === 'state-conflict' ? await store.load() : undefined;
    if (loaded === undefined) throw error;
    return loaded;
  }
}

function issuedUntil(state: CaState): number {
  return (state.roots[signingIndex(state)] as CaState['roots'][0]).issuedUntil;
}

function certifiableId(identity: Identity): SpiffeId {
  const { trustDomain, namespace, serviceAccount } = identity;
  const parts = [trustDomain, namespace, serviceAccount];
  if (!parts.every((part) => identityPart.test(part))) {
    throw new CaError(
      'identity-invalid',
      `Identity "${formatSpiffeId(identity)}" is not made of Kubernetes names`,
    );
  }
  return formatSpiffeId(identity);
}
