// Which captured pod is proved when, and what follows from it: every pod right after its capture and then every few
// seconds, few at a time; a state for each; a repair when the proof fails, less and less often. A proof is a connection
// through the pod's namespace (self-probe.ts) and the kernel's word about its steering.

import type { SteeringProof } from '../bpf/steering-proof.ts';
import { familyOf } from '../mesh/io/socket-address.ts';
import { AF_INET } from '../mesh/io/libc.ts';
import type { IpAddress } from '../mesh/model/ip-address.ts';
import type { NodePod } from '../mesh/model/node-pod.ts';
import type { WorkloadUid } from '../mesh/model/workload.ts';
import type { CaptureState } from '../mesh/node-report/node-report.ts';
import { Backoff } from '../mesh/runtime/backoff.ts';
import type { Clock, Timer } from '../mesh/runtime/clock.ts';
import type { Logger } from '../mesh/runtime/logger.ts';
import { ports } from './ports.ts';
import type { ProbeResult, ProbeTarget } from './self-probe.ts';
import type { IpFamily } from './self-probe-proof.ts';

/** What is asked of the kernel. */
export interface ProvenRedirect {
  detachedHooks(): readonly string[];
  reattachHooks(): void;
  proveSteering(
    podUid: string,
    question: { readonly addresses: readonly IpAddress[]; readonly ports: readonly number[] },
  ): SteeringProof | undefined;
}

export interface SelfProbesOptions {
  readonly redirect: ProvenRedirect;
  readonly probe: (target: ProbeTarget) => Promise<ProbeResult>;
  /** Why a pod's own processes are out of the redirect's reach, whatever a probe says; undefined if they are not. */
  readonly outOfReach: (pod: NodePod) => string | undefined;
  /** Captures a pod anew. */
  readonly recapture: (uid: WorkloadUid, reason: string) => void;
  /** A state changed. */
  readonly onChange: () => void;
  readonly metrics: {
    probed(result: ProbeResult['kind']): void;
    repaired(): void;
  };
  readonly clock: Clock;
  readonly logger: Logger;
  /** A number in [0, 1); default Math.random. */
  readonly random?: () => number;
  /** From one proof of a pod to the next, ms, give or take a fifth; default 5,000. A proof costs about half a millisecond. */
  readonly intervalMs?: number;
}

/** What is known of a captured pod. */
export interface ProofState {
  readonly state: CaptureState;
  readonly reason: string;
  readonly message: string;
  /** ms since the epoch. */
  readonly since: number;
}

interface Entry {
  readonly pod: NodePod;
  readonly netnsPath: string;
  readonly repairs: Backoff;
  state: ProofState;
  timer: Timer | undefined;
  /** Bad proofs in a row. */
  failures: number;
  /** Monotonic ms before which nothing is repaired. */
  repairAfter: number;
}

const defaultIntervalMs = 5_000;
/** Until a bad proof is tried again. */
const retryMs = 500;
const maxParallel = 8;
/** A worker that is busy for a moment is no failure. */
const failuresToTell = 2;
const failuresToRepairSilence = 4;

/** A foreign port stands for all others: steering knows two kinds. */
const steeredPorts = [ports.hbone, 80];

type Verdict = Pick<ProofState, 'state' | 'reason' | 'message'>;

export class SelfProbes {
  readonly #options: SelfProbesOptions;
  readonly #entries = new Map<WorkloadUid, Entry>();
  readonly #waiting = new Set<Entry>();
  #underWay = 0;
  #closed = false;

  constructor(options: SelfProbesOptions) {
    this.#options = options;
  }

  /** To be called whenever a pod was captured, anew as well. `netnsPath` leads to its namespace until podReleased(). */
  podCaptured(pod: NodePod, netnsPath: string): void {
    const before = this.#entries.get(pod.uid);
    before?.timer?.cancel();
    const entry: Entry = {
      pod,
      netnsPath,
      repairs: before?.repairs ?? new Backoff({ minMs: 1_000, maxMs: 60_000, jitter: 0.2 }),
      state: before?.state ?? this.#stateOf({ state: 'pending', reason: 'Proving', message: '' }),
      timer: undefined,
      failures: before?.failures ?? 0,
      repairAfter: before?.repairAfter ?? 0,
    };
    if (before !== undefined) this.#waiting.delete(before);
    this.#entries.set(pod.uid, entry);
    this.#enqueue(entry);
  }

  podReleased(uid: WorkloadUid): void {
    const entry = this.#entries.get(uid);
    if (entry === undefined) return;
    entry.timer?.cancel();
    this.#waiting.delete(entry);
    this.#entries.delete(uid);
  }

  /** Undefined for a pod that is not captured. */
  state(uid: WorkloadUid): ProofState | undefined {
    return this.#entries.get(uid)?.state;
  }

  /** Proves and repairs nothing any more; states stay those of the last proofs. Idempotent. */
  close(): void {
    this.#closed = true;
    this.#waiting.clear();
    for (const { timer } of this.#entries.values()) timer?.cancel();
  }

  #enqueue(entry: Entry): void {
    if (this.#closed) return;
    this.#waiting.add(entry);
    this.#pump();
  }

  #pump(): void {
    for (const entry of this.#waiting) {
      if (this.#underWay >= maxParallel) return;
      this.#waiting.delete(entry);
      this.#underWay++;
      void this.#prove(entry).finally(() => {
        this.#underWay--;
        this.#pump();
      });
    }
  }

  async #prove(entry: Entry): Promise<void> {
    const verdict = await this.#judge(entry);
    if (this.#closed || !this.#isCurrent(entry)) return;
    const { random = Math.random, intervalMs = defaultIntervalMs } = this.#options;
    if (verdict === undefined) return this.#again(entry, intervalMs);
    const good = verdict.state === 'captured';
    entry.failures = good ? 0 : entry.failures + 1;
    if (good) entry.repairs.reset();
    if (good || verdict.state === 'bypassed' || entry.failures >= failuresToTell) this.#tell(entry, verdict);
    const usualMs = intervalMs * (0.8 + 0.4 * random());
    this.#again(entry, entry.failures === 1 ? Math.min(retryMs, usualMs) : usualMs);
    if (!good) this.#repair(entry, verdict);
  }

  #again(entry: Entry, delayMs: number): void {
    entry.timer = this.#options.clock.after(delayMs, () => this.#enqueue(entry), { unref: true });
  }

  /** Undefined: a newer process has the pod, and says how it is. */
  async #judge({ pod, netnsPath }: Entry): Promise<Verdict | undefined> {
    const outOfReach = this.#options.outOfReach(pod);
    if (outOfReach !== undefined) return { state: 'bypassed', reason: 'CgroupOutside', message: outOfReach };
    const outbound = await this.#judgeOutbound(pod, netnsPath);
    const steering = this.#options.redirect.proveSteering(pod.uid, {
      addresses: pod.addresses,
      ports: steeredPorts,
    });
    if (steering?.kind === 'superseded') return undefined;
    return outbound.state === 'captured' ? (badSteering(steering) ?? outbound) : outbound;
  }

  async #judgeOutbound(pod: NodePod, netnsPath: string): Promise<Verdict> {
    let unproved = '';
    for (const family of familiesOf(pod)) {
      const result = await this.#options.probe({ netnsPath, podUid: pod.uid, family });
      this.#options.metrics.probed(result.kind);
      if (result.kind === 'bypassed') return this.#whyBypassed(family);
      if (result.kind === 'failed')
        return { state: 'failed', reason: result.reason, message: result.message };
      if (result.kind === 'impossible') unproved = `Not proved by a connection: ${result.message}`;
    }
    return { state: 'captured', reason: 'Captured', message: unproved };
  }

  #whyBypassed(family: IpFamily): Verdict {
    const hooks = this.#options.redirect.detachedHooks();
    if (hooks.length > 0) {
      const message = `Somebody detached Weft's programs (${hooks.join(', ')}) from the cgroup tree`;
      return { state: 'bypassed', reason: 'HookDetached', message };
    }
    const message = `The redirect leaves the pod's ${family} connections alone`;
    return { state: 'bypassed', reason: 'NotRedirected', message };
  }

  #tell(entry: Entry, verdict: Verdict): void {
    const { state, reason, message } = entry.state;
    if (state === verdict.state && reason === verdict.reason && message === verdict.message) return;
    const { namespace, name } = entry.pod;
    const fields = { pod: `${namespace}/${name}`, ...verdict };
    if (verdict.state !== 'captured') this.#options.logger.error(fields, 'Capture of a pod is broken');
    else if (state !== 'pending') this.#options.logger.info(fields, 'Capture of a pod is right again');
    entry.state = state === verdict.state ? { ...entry.state, ...verdict } : this.#stateOf(verdict);
    this.#options.onChange();
  }

  #repair(entry: Entry, { reason, state }: Verdict): void {
    const { clock, redirect, recapture, metrics, logger } = this.#options;
    const now = clock.monotonic();
    if (reason === 'CgroupOutside' || now < entry.repairAfter) return;
    // New listeners are no help for a worker that is busy.
    const patience = reason === 'NoAnswer' ? failuresToRepairSilence : failuresToTell;
    if (state === 'failed' && entry.failures < patience) return;
    entry.repairAfter = now + entry.repairs.next();
    metrics.repaired();
    try {
      if (redirect.detachedHooks().length > 0) redirect.reattachHooks();
      if (reason !== 'HookDetached') return recapture(entry.pod.uid, reason);
    } catch (err) {
      logger.error({ err, reason }, 'Repairing the capture of a pod failed');
      return;
    }
    entry.timer?.cancel();
    this.#enqueue(entry);
  }

  #stateOf(verdict: Verdict): ProofState {
    return { ...verdict, since: this.#options.clock.now() };
  }

  #isCurrent(entry: Entry): boolean {
    return this.#entries.get(entry.pod.uid) === entry;
  }
}

/** Undefined if it is right. */
function badSteering(proof: SteeringProof | undefined): Verdict | undefined {
  if (proof === undefined || proof.kind === 'detached') {
    const message = "Somebody detached Weft's program from the pod's network namespace";
    return { state: 'bypassed', reason: 'SteeringDetached', message };
  }
  if (proof.kind !== 'unserved') return undefined;
  const message = `Nobody serves what comes to ${proof.address} port ${proof.port}: it is refused`;
  return { state: 'failed', reason: 'NoListener', message };
}

/** Connections go to the first address of a family, so one probe a family proves all. */
function familiesOf({ addresses }: NodePod): readonly IpFamily[] {
  const has = (isIpv4: boolean): boolean =>
    addresses.some((address) => (familyOf(address) === AF_INET) === isIpv4);
  return [...(has(true) ? (['ipv4'] as const) : []), ...(has(false) ? (['ipv6'] as const) : [])];
}
