// What a self-probe asks for and what proves that a pod's connections reach this node tunnel: the reserved destination
// and the answer. The tunnel connects as the pod would; the data worker that is led to answers with a keyed hash of the
// number it is sent, so that neither an old answer nor another program in the pod can stand in for it.

import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import type { AddressPort } from '../bpf/map-layout.ts';
import type { IpAddress } from '../mesh/model/ip-address.ts';

/**
 * Nobody's: TEST-NET-1 (RFC 5737) and the discard-only prefix (RFC 6666), with a port that nothing of the mesh has. No
 * packet with such a destination is ever sent: see self-probe.ts.
 */
const reserved = { ipv4: '192.0.2.254' as IpAddress, ipv6: '100::7765:6674' as IpAddress };
const reservedPort = 15_004;

export type IpFamily = 'ipv4' | 'ipv6';

export const nonceBytes = 16;
/** Of an answer: more is somebody else's. */
export const maxAnswerBytes = 1_024;

export interface SelfProof {
  readonly process: number;
  readonly worker: number;
  readonly podUid: string;
}

export function selfProbeDestination(family: IpFamily): AddressPort {
  return { address: reserved[family], port: reservedPort };
}

export function isSelfProbe({ address, port }: AddressPort): boolean {
  return port === reservedPort && (address === reserved.ipv4 || address === reserved.ipv6);
}

/** Of one process; its data workers get it at their start. */
export function makeSelfProbeSecret(): string {
  return randomBytes(32).toString('hex');
}

export function formatProof(secret: string, nonce: Uint8Array, proof: SelfProof): string {
  const { process, worker, podUid } = proof;
  return `weft-self-probe ${process} ${worker} ${hash(secret, nonce, proof).toString('hex')} ${podUid}\n`;
}

/** Undefined for anything but an answer to `nonce` by whoever has the secret. */
export function parseProof(secret: string, nonce: Uint8Array, text: string): SelfProof | undefined {
  const [, process, worker, given, podUid] =
    /^weft-self-probe (\d{1,10}) (\d{1,4}) ([0-9a-f]{64}) (\S{1,512})\n$/.exec(text) ?? [];
  if (given === undefined || podUid === undefined) return undefined;
  const proof = { process: Number(process), worker: Number(worker), podUid };
  return timingSafeEqual(Buffer.from(given, 'hex'), hash(secret, nonce, proof)) ? proof : undefined;
}

function hash(secret: string, nonce: Uint8Array, { process, worker, podUid }: SelfProof): Buffer {
  return createHmac('sha256', secret).update(nonce).update(`${process} ${worker} ${podUid}`).digest();
}
