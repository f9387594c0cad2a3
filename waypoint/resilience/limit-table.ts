// Token buckets by the hash of their key, in a fixed block of memory that data workers may share, so that a limit is
// one limit however a client's connections fall on them. Invariant: a key is never let through more than its limit,
// not even when the table is too small for all keys, for then a key takes over the debt of the one it replaces.

import { randomInt } from 'node:crypto';

/** Ways of a set: where one key can be. Eight are compared about as fast as one cache line is fetched. */
const ways = 8;
/** Buckets that fill up in up to 10 s, 5 min, 2 h or longer never replace each other: the debt would be out of scale. */
const classEndsMs = [10_000, 300_000, 7_200_000];
const classes = classEndsMs.length + 1;
/** A lock is held for well under a microsecond, unless its holder was interrupted: then it is waited for, up to 100 ms. */
const maxSpins = 100;
const maxWaits = 20;
const waitMs = 5;
const headerBytes = 16;

/** Memory for about that many keys, for LimitTable; 16 bytes each. To be shared with workers if they shall share limits. */
export function limitTableMemory(maxKeys: number): SharedArrayBuffer {
  const sets = setsFor(maxKeys);
  const memory = new SharedArrayBuffer(
    headerBytes + align(sets * classes * 4) + sets * classes * ways * (8 + 8),
  );
  // A client that knew the seeds could make its keys meet another's.
  new Int32Array(memory, 0, 3).set([randomInt(2 ** 31), randomInt(2 ** 31), sets]);
  return memory;
}

/** A bucket: `burst` requests at once, and one more each `emissionMs`. */
export interface BucketShape {
  readonly emissionMs: number;
  readonly burst: number;
}

export class LimitTable {
  readonly seedA: number;
  readonly seedB: number;
  readonly #sets: number;
  readonly #locks: Int32Array;
  readonly #tags: Int32Array;
  /** When the bucket of an entry is full again, ms: the theoretical arrival time of GCRA (ITU-T I.371). */
  readonly #fullAt: Float64Array;

  /** @param memory of `limitTableMemory` */
  constructor(memory: SharedArrayBuffer) {
    const [seedA = 0, seedB = 0, sets = 0] = new Int32Array(memory, 0, 3);
    this.seedA = seedA;
    this.seedB = seedB;
    this.#sets = sets;
    const entries = sets * classes * ways;
    let at = headerBytes;
    this.#locks = new Int32Array(memory, at, sets * classes);
    at += align(sets * classes * 4);
    this.#tags = new Int32Array(memory, at, entries * 2);
    at += entries * 8;
    this.#fullAt = new Float64Array(memory, at, entries);
  }

  /**
   * Takes a token of the key's bucket if there is one.
   * @param now ms on a clock that all users of the memory share
   * @returns ms until the bucket is full, the token taken; or, negative, minus the ms until there is a token
   */
  take(hashA: number, hashB: number, options: { readonly shape: BucketShape; readonly now: number }): number {
    const { shape, now } = options;
    const { emissionMs, burst } = shape;
    const set = this.#setOf(hashA, shape);
    this.#lock(set);
    const entry = this.#find(set, hashA, hashB) ?? this.#replace(set, hashA, hashB);
    const fullAt = Math.max(this.#fullAt[entry] as number, now);
    const debtMs = fullAt - now + emissionMs;
    const overMs = debtMs - burst * emissionMs;
    // Sums of fractions of ms are off by less than this.
    const allowed = overMs <= emissionMs * 1e-6;
    if (allowed) this.#fullAt[entry] = fullAt + emissionMs;
    this.#unlock(set);
    return allowed ? debtMs : -overMs;
  }

  /** Puts a token back that was just taken, because another limit refused the request. */
  giveBack(hashA: number, hashB: number, shape: BucketShape): void {
    const set = this.#setOf(hashA, shape);
    this.#lock(set);
    const entry = this.#find(set, hashA, hashB);
    if (entry !== undefined) this.#fullAt[entry] = (this.#fullAt[entry] as number) - shape.emissionMs;
    this.#unlock(set);
  }

  #setOf(hashA: number, { emissionMs, burst }: BucketShape): number {
    const fillMs = emissionMs * burst;
    let size = 0;
    while (size < classEndsMs.length && fillMs > (classEndsMs[size] as number)) size++;
    return size * this.#sets + ((hashA >>> 0) % this.#sets);
  }

  #find(set: number, hashA: number, hashB: number): number | undefined {
    for (let entry = set * ways, end = entry + ways; entry < end; entry++) {
      if (this.#tags[entry * 2] === (hashA | 0) && this.#tags[entry * 2 + 1] === (hashB | 0)) return entry;
    }
    return undefined;
  }

  /**
   * The entry of the set that is full first, with its debt: nothing, if it is full already. No entry of the set is full
   * earlier from then on, so a key that was replaced and comes back has at least the debt it had.
   */
  #replace(set: number, hashA: number, hashB: number): number {
    let least = set * ways;
    for (let entry = least + 1, end = least + ways; entry < end; entry++) {
      if ((this.#fullAt[entry] as number) < (this.#fullAt[least] as number)) least = entry;
    }
    this.#tags[least * 2] = hashA;
    this.#tags[least * 2 + 1] = hashB;
    return least;
  }

  /** 0 free, 1 held, 2 held and waited for. One that is not to be had in time is passed over: a request more may pass. */
  #lock(set: number): void {
    for (let spin = 0; spin < maxSpins; spin++) {
      if (Atomics.compareExchange(this.#locks, set, 0, 1) === 0) return;
    }
    for (let wait = 0; wait < maxWaits && Atomics.exchange(this.#locks, set, 2) !== 0; wait++) {
      Atomics.wait(this.#locks, set, 2, waitMs);
    }
  }

  #unlock(set: number): void {
    if (Atomics.exchange(this.#locks, set, 0) === 2) Atomics.notify(this.#locks, set, 1);
  }
}

function setsFor(maxKeys: number): number {
  return Math.max(1, Math.ceil(maxKeys / (ways * classes)));
}

function align(bytes: number): number {
  return Math.ceil(bytes / 8) * 8;
}
