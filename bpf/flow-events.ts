// The kernel's ring of flow events (same_node.h), drained on demand: no wake-up, no thread, no system call while it is
// empty. One reader a ring. The reader's position is the kernel's, so a later process goes on where this one ended.

import koffi from 'koffi';
import { errno } from '../mesh/io/libc.ts';
import { Slab } from '../mesh/io/slab.ts';
import { systemError } from './bpf-error.ts';
import { type Handle, libbpf, ringSample } from './libbpf.ts';
import { decodeFlowEvent, type FlowEvent, flowEventSize } from './same-node-layout.ts';

const copy = koffi.load('libc.so.6').func('uintptr_t memcpy(uintptr_t to, uintptr_t from, size_t size)') as (
  to: number,
  from: number,
  size: number,
) => number;

export class FlowEvents {
  #ring: Handle;
  #callback: ReturnType<typeof koffi.register>;
  #pending: FlowEvent[] = [];
  #event = new Slab(flowEventSize);

  /** @param fd of the map `flow_events`; stays the caller's. @throws BpfError map-failed */
  constructor(fd: number) {
    const onSample = (_context: number, data: number, size: number): number => {
      if (Number(size) >= flowEventSize) this.#take(data);
      return 0;
    };
    this.#callback = koffi.register(onSample, ringSample);
    this.#ring = libbpf().ringBufferNew(fd, this.#callback, 0, 0);
    if (Number(this.#ring) === 0) {
      koffi.unregister(this.#callback);
      throw systemError('map-failed', 'Could not read the flow events', errno());
    }
  }

  /** What came since the last call, oldest first; bounded by the size of the ring (1 MiB). */
  drain(): readonly FlowEvent[] {
    if (Number(this.#ring) === 0) return [];
    libbpf().ringBufferConsume(this.#ring);
    const events = this.#pending;
    this.#pending = [];
    return events;
  }

  /** Idempotent. */
  close(): void {
    if (Number(this.#ring) === 0) return;
    libbpf().ringBufferFree(this.#ring);
    koffi.unregister(this.#callback);
    this.#ring = 0;
  }

  /** `data` is valid during the callback only: copied. */
  #take(data: number): void {
    copy(this.#event.address, data, flowEventSize);
    const event = decodeFlowEvent(this.#event.bytes);
    if (event !== undefined) this.#pending.push(event);
  }
}
