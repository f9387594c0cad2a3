// Steering of one pod: loads the sk_lookup program with the pod's own maps and attaches it to the pod's network
// namespace, in one step for every kind of listener: the process whose program runs gets all that is new. The maps are filled before the program is attached, so that it never drops for want of a listener.

import { systemError } from './bpf-error.ts';
import { attachOrReplace, objectId } from './bpf-link.ts';
import { BpfMap } from './bpf-map.ts';
import { BpfObject } from './bpf-object.ts';
import { BPF_SK_LOOKUP } from './libbpf.ts';
import {
  encodeInboundConfig,
  type InboundConfig,
  inboundConfigSize,
  type ListenerKind,
  listenerKinds,
  listenerSlots,
} from './map-layout.ts';

export interface InboundCapture extends Omit<InboundConfig, 'listenerCounts'> {
  /** Descriptors, at most 16 of a kind. */
  readonly listeners: Readonly<Record<ListenerKind, readonly number[]>>;
}

export interface InboundLink {
  readonly fd: number;
  readonly programId: number;
}

/**
 * Attaches, or replaces what is pinned at `pinPath`. The listening sockets stay the caller's; when one closes it leaves
 * the program's map by itself. @throws BpfError load-failed, attach-failed, map-failed, pin-failed
 */
export function attachInbound(
  netnsFd: number,
  capture: InboundCapture,
  options: {
    readonly pinPath: string | undefined;
    /** Descriptor of the map of flows that are let through (same_node.h). */
    readonly admitted: number;
  },
): InboundLink {
  using object = BpfObject.load('inbound', { maps: new Map([['admitted', options.admitted]]) });
  const config = new BpfMap('config', object.mapFd('config'), { key: 4, value: inboundConfigSize });
  const { hbone, plaintext, outbound, dns } = capture.listeners;
  const listenerCounts = {
    hbone: hbone.length,
    plaintext: plaintext.length,
    outbound: outbound.length,
    dns: dns.length,
  };
  config.set(new Uint8Array(4), encodeInboundConfig({ ...capture, listenerCounts }));
  const listeners = new BpfMap('listeners', object.mapFd('listeners'), { key: 4, value: 8 });
  for (const [i, kind] of listenerKinds.entries())
    fill(listeners, i * listenerSlots, capture.listeners[kind]);
  const programFd = object.programFd('weft_inbound');
  const fd = attachOrReplace({
    programFd,
    targetFd: netnsFd,
    attachType: BPF_SK_LOOKUP,
    hook: 'sk_lookup',
    pinPath: options.pinPath,
  });
  const programId = objectId(programFd);
  if (programId === 0) throw systemError('attach-failed', 'Could not identify the inbound program', 0);
  return { fd, programId };
}

function fill(listeners: BpfMap, first: number, fds: readonly number[]): void {
  const key = Buffer.alloc(4);
  const value = Buffer.alloc(8);
  for (const [i, fd] of fds.entries()) {
    key.writeUInt32LE(first + i);
    value.writeBigUInt64LE(BigInt(fd));
    listeners.set(key, value);
  }
}
