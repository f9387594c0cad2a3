// Where captured pods are probed, for kubelet.h: the kernel asks it when the kubelet connects. An address and port belong
// to the pod that was captured with them last; who had them before takes nothing away when it leaves.

import type { IpAddress } from '../mesh/model/ip-address.ts';
import { BpfMap } from './bpf-map.ts';
import { writeAddress } from './map-layout.ts';

/** Size of the map in kubelet.h. */
const maxTargets = 131_072;
/** Of one pod and address; what is beyond is held to the policies. */
const maxPorts = 32;
const targetSize = 24;

export class ProbeTargets {
  #map: BpfMap;

  constructor(fd: number) {
    this.#map = new BpfMap('probe_targets', fd, { key: targetSize, value: 8 });
  }

  /** These and no others are the pod's. @throws BpfError map-failed */
  assign(
    netnsCookie: bigint,
    pod: { readonly addresses: readonly IpAddress[]; readonly probePorts?: readonly number[] },
  ): void {
    const ports = (pod.probePorts ?? []).slice(0, maxPorts);
    const keys = pod.addresses.flatMap((address) => ports.map((port) => encodeTarget(address, port)));
    this.#remove(netnsCookie, (key) => !keys.some((own) => own.equals(key)));
    const value = Buffer.alloc(8);
    value.writeBigUInt64LE(netnsCookie);
    for (const key of keys) this.#map.set(key, value);
  }

  /** Also for a pod that another process assigned. @throws BpfError map-failed */
  release(netnsCookie: bigint): void {
    this.#remove(netnsCookie, () => true);
  }

  #remove(netnsCookie: bigint, which: (key: Buffer) => boolean): void {
    for (const key of this.#map.keys(maxTargets)) {
      if (this.#map.get(key)?.readBigUInt64LE() === netnsCookie && which(key)) this.#map.delete(key);
    }
  }
}

function encodeTarget(address: IpAddress, port: number): Buffer {
  const key = Buffer.alloc(targetSize);
  writeAddress(key, 0, address);
  key.writeUInt16LE(port, 16);
  return key;
}
