// The fast path's maps as user space sees them: writes verdicts, reads live flows and counters, resets flows. Decides
// nothing. Verdicts hold only in the generation they were written in; a new generation makes all of them void at once,
// before anything else is done about a change.

import { randomBytes } from 'node:crypto';
import { closeSync } from 'node:fs';
import { NetnsError, openNetns, withNetnsFd } from '../mesh/io/netns.ts';
import { BpfMap } from './bpf-map.ts';
import { FlowEvents } from './flow-events.ts';
import { resetSocket } from './flow-reset.ts';
import { currentNetnsCookie } from './pod-capture.ts';
import {
  countersSize,
  decodeCounters,
  decodeLiveFlow,
  encodeShortcut,
  encodeShortcutKey,
  type FlowEvent,
  type LiveFlow,
  liveFlowSize,
  maxLiveFlows,
  type SameNodeCounters,
  type ShortcutEndpoint,
  type ShortcutKey,
  shortcutKeySize,
  shortcutSize,
} from './same-node-layout.ts';

/** Descriptors, valid while the Redirect they come from is open. */
export interface SameNodeFds {
  readonly shortcuts: number;
  readonly control: number;
  readonly counters: number;
  readonly live: number;
  readonly events: number;
}

const onlyEntry = new Uint8Array(4);

export class SameNodeMaps {
  #shortcuts: BpfMap;
  #control: BpfMap;
  #counters: BpfMap;
  #live: BpfMap;
  #events: FlowEvents;
  #generation = 0n;

  /** Changes nothing: what an earlier process let through holds until `stop` or `renew`. @throws BpfError */
  constructor(fds: SameNodeFds) {
    this.#shortcuts = new BpfMap('shortcuts', fds.shortcuts, { key: shortcutKeySize, value: shortcutSize });
    this.#control = new BpfMap('control', fds.control, { key: 4, value: 8 });
    this.#counters = new BpfMap('counters', fds.counters, { key: 4, value: countersSize });
    this.#live = new BpfMap('live', fds.live, { key: 8, value: liveFlowSize });
    this.#events = new FlowEvents(fds.events);
  }

  /** Voids every verdict; those written from now on hold. @throws BpfError map-failed */
  renew(): void {
    // Random: two processes that overlap never take the other's verdicts for their own.
    this.#setGeneration(randomBytes(8).readBigUInt64LE() | 1n);
  }

  /** Voids every verdict and lets nothing through until `renew`. @throws BpfError map-failed */
  stop(): void {
    this.#setGeneration(0n);
  }

  /** False when another process has changed the generation: nothing written here holds until `renew`. */
  get isCurrent(): boolean {
    return this.#control.get(onlyEntry)?.readBigUInt64LE() === this.#generation;
  }

  /** Lets the pod connect to any of 1 to 8 endpoints of the destination's family. @throws BpfError map-failed */
  allow(key: ShortcutKey, endpoints: readonly ShortcutEndpoint[]): void {
    this.#shortcuts.set(encodeShortcutKey(key), encodeShortcut(this.#generation, endpoints));
  }

  /** @throws BpfError map-failed */
  forget(key: ShortcutKey): void {
    this.#shortcuts.delete(encodeShortcutKey(key));
  }

  /** By the cookie of the connecting socket. */
  liveFlows(): Map<bigint, LiveFlow> {
    const flows = new Map<bigint, LiveFlow>();
    for (const key of this.#live.keys(maxLiveFlows)) {
      const value = this.#live.get(key);
      if (value !== undefined) flows.set(key.readBigUInt64LE(), decodeLiveFlow(value));
    }
    return flows;
  }

  counters(): SameNodeCounters {
    return decodeCounters(this.#counters.get(onlyEntry) ?? Buffer.alloc(countersSize));
  }

  /** What happened since the last call. */
  events(): readonly FlowEvent[] {
    return this.#events.drain();
  }

  /**
   * Resets a flow at its source, or at its destination where the source's namespace is gone. False: it has ended.
   * @throws BpfError map-failed
   */
  reset(
    flow: LiveFlow,
    cookie: bigint,
    netns: { readonly source: string | undefined; readonly destination: string | undefined },
  ): boolean {
    const { source, destination } = flow;
    const atSource = inNetns(netns.source, flow.sourceNetns, () =>
      resetSocket({ local: source, remote: destination, cookie }),
    );
    if (atSource !== undefined) return atSource;
    return (
      inNetns(netns.destination, flow.destinationNetns, () =>
        resetSocket({ local: destination, remote: source, cookie: undefined }),
      ) ?? false
    );
  }

  /** Lets nothing through any more. Idempotent; to be called before the Redirect is closed. */
  close(): void {
    // Not ours to stop once another process has begun.
    if (this.isCurrent) this.stop();
    this.#events.close();
  }

  #setGeneration(generation: bigint): void {
    const value = Buffer.alloc(8);
    value.writeBigUInt64LE(generation);
    this.#control.set(onlyEntry, value);
    this.#generation = generation;
  }
}

/** Undefined if the namespace with that cookie is not at the path (any more). */
function inNetns<T>(path: string | undefined, cookie: bigint, run: () => T): T | undefined {
  if (path === undefined) return undefined;
  let fd: number;
  try {
    fd = openNetns(path);
  } catch (error) {
    if (error instanceof NetnsError && error.code === 'not-found') return undefined;
    throw error;
  }
  try {
    return withNetnsFd(fd, () => (currentNetnsCookie() === cookie ? run() : undefined));
  } finally {
    closeSync(fd);
  }
}
