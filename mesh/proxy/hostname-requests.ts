// A data worker's questions for the addresses of a name. The worker has no promises while its reactor runs, so the main
// thread is asked by message and whoever waits is called back when its answer arrives. One question for each name,
// however many connections wait for it; those are bounded by the connections of the worker.

import { type IpAddress, isIpv6 } from '../model/ip-address.ts';
import type { HostnameAnswer } from './hostname-lookups.ts';

export type HostnameCallback = (answer: HostnameAnswer) => void;

export interface PendingHostname {
  /** The callback will not be called. Idempotent. */
  cancel(): void;
}

export class HostnameRequests {
  readonly #ask: (hostname: string) => void;
  readonly #waiting = new Map<string, Set<HostnameCallback>>();

  /** @param ask leads to one `answer` of the same name, later */
  constructor(ask: (hostname: string) => void) {
    this.#ask = ask;
  }

  /** Calls back exactly once unless cancelled, never from inside this call. */
  request(hostname: string, callback: HostnameCallback): PendingHostname {
    let callbacks = this.#waiting.get(hostname);
    if (callbacks === undefined) {
      callbacks = new Set();
      this.#waiting.set(hostname, callbacks);
      this.#ask(hostname);
    }
    const mine = callbacks.add(callback);
    return { cancel: () => mine.delete(callback) };
  }

  answer(hostname: string, answer: HostnameAnswer): void {
    const callbacks = this.#waiting.get(hostname);
    this.#waiting.delete(hostname);
    for (const callback of callbacks ?? []) callback(answer);
  }
}

/** One of them at random, of the family that the client dialled if there is one. */
export function chooseAddress(
  addresses: readonly IpAddress[],
  { family, random }: { readonly family: 4 | 6; readonly random: () => number },
): IpAddress | undefined {
  const preferred = addresses.filter((address) => isIpv6(address) === (family === 6));
  const candidates = preferred.length > 0 ? preferred : addresses;
  return candidates[Math.floor(random() * candidates.length)];
}
