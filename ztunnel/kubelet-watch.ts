// Keeps the kernel told who the kubelet is (bpf/kubelet.h): looks for it at the start, asks each second whether it is
// still the same process, and looks again when not. Whoever is not found is not exempt. On the main thread.

import { type KubeletMaps, maxProbers, netnsCookieAt, type Prober } from '../bpf/kubelet-maps.ts';
import type { Clock, Timer } from '../mesh/runtime/clock.ts';
import type { Logger } from '../mesh/runtime/logger.ts';
import { findKubelets, isUnchanged, type Kubelet } from './kubelet.ts';

export interface KubeletWatchOptions {
  readonly maps: Pick<KubeletMaps, 'admitOnly' | 'admitted'>;
  /** Mount point of cgroup2, as the programs are attached to it. */
  readonly cgroupRoot: string;
  /** Default `/proc`; must be that of the node (hostPID). */
  readonly proc?: string;
  /** Of the namespace at a path; default: asks the kernel. */
  readonly netnsCookieAt?: (path: string) => bigint;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** For the config dump. */
export interface KubeletState {
  readonly pid: number;
  readonly name: string;
  /** From the root of the cgroup2 tree. */
  readonly cgroup?: string;
  /** Why its probes are held to the policies like everybody's connections; absent: they reach captured pods. */
  readonly problem?: string;
}

const checkMs = 1_000;
/** A machine without a kubelet, or with one more than before, is noticed this late. */
const searchMs = 30_000;

export class KubeletWatch {
  #options: KubeletWatchOptions;
  #proc: string;
  #kubelets: readonly Kubelet[] = [];
  #searchAt = 0;
  #isMissed = false;
  #timer: Timer;

  /** The first search is over when this returns. */
  constructor(options: KubeletWatchOptions) {
    this.#options = options;
    this.#proc = options.proc ?? '/proc';
    this.#search();
    this.#timer = this.#later();
  }

  state(): readonly KubeletState[] {
    return this.#kubelets.map(({ pid, name, cgroup, problem }) => ({
      pid,
      name,
      ...(cgroup === undefined ? {} : { cgroup: cgroup.path }),
      ...(problem === undefined ? {} : { problem }),
    }));
  }

  /** Probes that reached captured pods, since the instance was made. */
  probes(): number {
    return this.#options.maps.admitted();
  }

  /** What the kernel was told stays, so that probes go on without this process. Idempotent. */
  close(): void {
    this.#timer.cancel();
  }

  #later(): Timer {
    return this.#options.clock.after(checkMs, () => this.#check(), { unref: true });
  }

  #check(): void {
    const isSame = this.#kubelets.every((kubelet) => isUnchanged(kubelet, this.#proc));
    if (!isSame || this.#options.clock.monotonic() >= this.#searchAt) this.#search();
    this.#timer = this.#later();
  }

  #search(): void {
    const found = this.#announce(findKubelets({ proc: this.#proc, cgroupRoot: this.#options.cgroupRoot }));
    this.#tell(found);
    // One that was there comes back soon.
    this.#isMissed = found.length === 0 && (this.#kubelets.length > 0 || this.#isMissed);
    this.#searchAt = this.#options.clock.monotonic() + (this.#isMissed ? 0 : searchMs);
    this.#kubelets = found;
  }

  /** Tells the kernel. Where that fails nobody is exempt, and the kubelets have a problem. */
  #announce(found: readonly Kubelet[]): readonly Kubelet[] {
    const { maps } = this.#options;
    try {
      maps.admitOnly(this.#probers(found));
      return found;
    } catch (error) {
      const problem = error instanceof Error ? error.message : String(error);
      try {
        maps.admitOnly([]);
      } catch {
        // Told with the first error.
      }
      const held = (kubelet: Kubelet): Kubelet => {
        const { pid, name, startTicks, cgroupText } = kubelet;
        return { pid, name, startTicks, cgroupText, problem };
      };
      return found.map(held);
    }
  }

  #probers(found: readonly Kubelet[]): readonly Prober[] {
    const cgroups = found.flatMap(({ cgroup }) => cgroup ?? []);
    if (cgroups.length === 0) return [];
    const cookieAt = this.#options.netnsCookieAt ?? netnsCookieAt;
    const netnsCookie = cookieAt(`${this.#proc}/1/ns/net`);
    return cgroups.slice(0, maxProbers).map(({ id }) => ({ cgroupId: id, netnsCookie }));
  }

  #tell(found: readonly Kubelet[]): void {
    const { logger } = this.#options;
    const isIn = (list: readonly Kubelet[], { pid, cgroupText }: Kubelet): boolean =>
      list.some((other) => other.pid === pid && other.cgroupText === cgroupText);
    for (const kubelet of this.#kubelets) {
      if (!isIn(found, kubelet)) logger.info({ pid: kubelet.pid }, 'the kubelet is gone');
    }
    for (const kubelet of found) {
      if (isIn(this.#kubelets, kubelet)) continue;
      const { pid, name, cgroup, problem } = kubelet;
      if (problem === undefined)
        logger.info({ pid, name, cgroup: cgroup?.path }, 'probes of the kubelet reach captured pods');
      else
        logger.warn(
          { pid, name, reason: problem },
          'Probes of this kubelet are refused where plaintext is: it is not known for certain; run it as a service of the node',
        );
    }
  }
}
