// Addresses of endpoints that are written as names (WorkloadEntry and ServiceEntry with a host instead of an address),
// looked up by DNS on the main thread for all data workers. Bounded: names remembered, lookups at once, names that wait
// for one, and the time an answer takes. An answer is used for its TTL, at most 30 s; a failure for 2 s.

import { type IpAddress, isLoopback, parseIpAddress } from '../model/ip-address.ts';
import type { Clock, Timer } from '../runtime/clock.ts';

export type HostnameAnswer =
  | { readonly kind: 'addresses'; readonly addresses: readonly IpAddress[] }
  | { readonly kind: 'failed'; readonly reason: string };

export interface HostnameRecords {
  /** As text; both families together. */
  readonly addresses: readonly string[];
  readonly ttlSeconds: number;
}

/** Rejects when the name has no address or nobody answers; stops asking when `signal` is aborted. */
export type ResolveHostname = (hostname: string, signal: AbortSignal) => Promise<HostnameRecords>;

export interface HostnameLookupsOptions {
  readonly clock: Clock;
  readonly resolve: ResolveHostname;
  /** Default 16. */
  readonly maxAtOnce?: number;
  /** Names that wait for a lookup; default 1,024. */
  readonly maxWaiting?: number;
  /** From the question to the answer, waiting included; default 5 s. */
  readonly timeoutMs?: number;
}

interface Lookup {
  readonly hostname: string;
  readonly answer: PromiseWithResolvers<HostnameAnswer>;
  readonly abort: AbortController;
  timer: Timer;
}

interface Remembered {
  readonly answer: HostnameAnswer;
  /** Monotonic ms. */
  readonly until: number;
}

const maxTtlMs = 30_000;
/** A name with a TTL of 0 still serves the connections that come together. */
const minTtlMs = 1_000;
const failureTtlMs = 2_000;
const maxRemembered = 4_096;
/** More only cost memory; each connection takes one at random. */
const maxAddresses = 64;

export class HostnameLookups {
  readonly #clock: Clock;
  readonly #resolve: ResolveHostname;
  readonly #maxAtOnce: number;
  readonly #maxWaiting: number;
  readonly #timeoutMs: number;
  /** In the order of their answers, the oldest first. */
  readonly #remembered = new Map<string, Remembered>();
  readonly #pending = new Map<string, Lookup>();
  readonly #waiting = new Set<Lookup>();

  constructor(options: HostnameLookupsOptions) {
    this.#clock = options.clock;
    this.#resolve = options.resolve;
    this.#maxAtOnce = options.maxAtOnce ?? 16;
    this.#maxWaiting = options.maxWaiting ?? 1_024;
    this.#timeoutMs = options.timeoutMs ?? 5_000;
  }

  /** Never rejects. */
  lookUp(name: string): Promise<HostnameAnswer> {
    const hostname = name.toLowerCase();
    const known = this.#remembered.get(hostname);
    if (known !== undefined && known.until > this.#clock.monotonic()) return Promise.resolve(known.answer);
    const pending = this.#pending.get(hostname);
    if (pending !== undefined) return pending.answer.promise;
    if (this.#waiting.size >= this.#maxWaiting) {
      return Promise.resolve(failed(`${this.#maxWaiting} other names already wait for DNS`));
    }
    return this.#begin(hostname);
  }

  /** Answers what is open with a failure. */
  close(): void {
    for (const lookup of this.#pending.values()) this.#end(lookup, failed('the node tunnel stops'));
    this.#remembered.clear();
  }

  #begin(hostname: string): Promise<HostnameAnswer> {
    const onTimeout = (): void => {
      const reason = `no answer of the name servers within ${this.#timeoutMs} ms`;
      this.#settle(lookup, failed(reason), failureTtlMs);
    };
    const lookup: Lookup = {
      hostname,
      answer: Promise.withResolvers<HostnameAnswer>(),
      abort: new AbortController(),
      timer: this.#clock.after(this.#timeoutMs, onTimeout),
    };
    this.#pending.set(hostname, lookup);
    this.#waiting.add(lookup);
    this.#pump();
    return lookup.answer.promise;
  }

  #pump(): void {
    for (const lookup of this.#waiting) {
      if (this.#pending.size - this.#waiting.size >= this.#maxAtOnce) return;
      this.#waiting.delete(lookup);
      void this.#run(lookup);
    }
  }

  async #run(lookup: Lookup): Promise<void> {
    try {
      const { addresses, ttlSeconds } = await this.#resolve(lookup.hostname, lookup.abort.signal);
      const usable = addresses.map(parseIpAddress).filter(isUsable).slice(0, maxAddresses);
      if (usable.length === 0) return this.#settle(lookup, failed('it has no usable address'), failureTtlMs);
      const ttlMs = Math.min(Math.max(ttlSeconds * 1000, minTtlMs), maxTtlMs);
      this.#settle(lookup, { kind: 'addresses', addresses: usable }, ttlMs);
    } catch (error) {
      this.#settle(lookup, failed(error instanceof Error ? error.message : String(error)), failureTtlMs);
    }
  }

  #settle(lookup: Lookup, answer: HostnameAnswer, ttlMs: number): void {
    if (this.#pending.get(lookup.hostname) !== lookup) return;
    this.#remembered.delete(lookup.hostname);
    this.#remembered.set(lookup.hostname, { answer, until: this.#clock.monotonic() + ttlMs });
    for (const [oldest] of this.#remembered) {
      if (this.#remembered.size <= maxRemembered) break;
      this.#remembered.delete(oldest);
    }
    this.#end(lookup, answer);
    this.#pump();
  }

  #end(lookup: Lookup, answer: HostnameAnswer): void {
    this.#pending.delete(lookup.hostname);
    this.#waiting.delete(lookup);
    lookup.timer.cancel();
    lookup.abort.abort();
    lookup.answer.resolve(answer);
  }
}

/** A name must not lead into the pod that dials it. */
function isUsable(address: IpAddress | undefined): address is IpAddress {
  return address !== undefined && !isLoopback(address) && address !== '0.0.0.0' && address !== '::';
}

function failed(reason: string): HostnameAnswer {
  return { kind: 'failed', reason };
}
