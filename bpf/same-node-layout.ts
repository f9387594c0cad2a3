// Bytes of what same_node.h shares with user space: verdicts, live flows, counters, events. Same conventions as
// map-layout.ts; pure, every decoder accepts exactly what its encoder writes.

import { type AddressPort, readAddress, writeAddress } from './map-layout.ts';

export const shortcutKeySize = 32;
export const shortcutSize = 272;
export const liveFlowSize = 80;
export const flowEventSize = 120;
export const countersSize = 32;
export const maxShortcutEndpoints = 8;
/** Entries of the maps, as in same_node.h. */
export const maxShortcuts = 8192;
export const maxLiveFlows = 65536;

/** A destination as the application of one pod names it. */
export interface ShortcutKey {
  readonly netnsCookie: bigint;
  readonly destination: AddressPort;
}

export interface ShortcutEndpoint extends AddressPort {
  readonly netnsCookie: bigint;
}

/** `struct live_flow`. */
export interface LiveFlow {
  readonly sourceNetns: bigint;
  readonly destinationNetns: bigint;
  readonly source: AddressPort;
  readonly destination: AddressPort;
  /** What the application named. */
  readonly asked: AddressPort;
}

/** `struct flow_event`. Bytes are payload. */
export interface FlowEvent {
  /** Of the connecting socket. */
  readonly cookie: bigint;
  readonly kind: 'opened' | 'closed' | 'failed';
  /** Smoothed, microseconds; 0: not measured. */
  readonly rttUs: number;
  readonly received: number;
  readonly sent: number;
  readonly durationMs: number;
  readonly flow: LiveFlow;
}

/** `struct counters`. */
export interface SameNodeCounters {
  readonly live: number;
  readonly lost: number;
  readonly refused: number;
  readonly full: number;
}

export function encodeShortcutKey({ netnsCookie, destination }: ShortcutKey): Buffer {
  const out = Buffer.alloc(shortcutKeySize);
  out.writeBigUInt64LE(netnsCookie, 0);
  writeAddressPort(out, 8, destination);
  return out;
}

/** 1 to 8 endpoints; any of them may be chosen. */
export function encodeShortcut(generation: bigint, endpoints: readonly ShortcutEndpoint[]): Buffer {
  if (endpoints.length === 0 || endpoints.length > maxShortcutEndpoints)
    throw new RangeError(`A shortcut has 1 to ${maxShortcutEndpoints} endpoints, not ${endpoints.length}`);
  const out = Buffer.alloc(shortcutSize);
  out.writeBigUInt64LE(generation, 0);
  out.writeUInt32LE(endpoints.length, 8);
  for (const [i, endpoint] of endpoints.entries()) {
    out.writeBigUInt64LE(endpoint.netnsCookie, 16 + 32 * i);
    writeAddressPort(out, 24 + 32 * i, endpoint);
  }
  return out;
}

/** Reads at `offset`. */
export function decodeLiveFlow(bytes: Buffer, offset = 0): LiveFlow {
  const end = (address: number, port: number): AddressPort => ({
    address: readAddress(bytes, offset + address),
    port: bytes.readUInt16LE(offset + port),
  });
  return {
    sourceNetns: bytes.readBigUInt64LE(offset),
    destinationNetns: bytes.readBigUInt64LE(offset + 8),
    source: end(16, 64),
    destination: end(32, 66),
    asked: end(48, 68),
  };
}

const kinds = [undefined, 'opened', 'closed', 'failed'] as const;

/** Undefined for an event of a kind that this version does not know. */
export function decodeFlowEvent(bytes: Buffer): FlowEvent | undefined {
  const kind = kinds[bytes.readUInt32LE(8)];
  if (kind === undefined) return undefined;
  return {
    cookie: bytes.readBigUInt64LE(0),
    kind,
    rttUs: bytes.readUInt32LE(12),
    received: Number(bytes.readBigUInt64LE(16)),
    sent: Number(bytes.readBigUInt64LE(24)),
    durationMs: Number(bytes.readBigUInt64LE(32)) / 1e6,
    flow: decodeLiveFlow(bytes, 40),
  };
}

export function decodeCounters(bytes: Buffer): SameNodeCounters {
  const at = (i: number): number => Number(bytes.readBigUInt64LE(8 * i));
  return { live: at(0), lost: at(1), refused: at(2), full: at(3) };
}

function writeAddressPort(out: Buffer, offset: number, { address, port }: AddressPort): void {
  writeAddress(out, offset, address);
  out.writeUInt16LE(port, offset + 16);
}
