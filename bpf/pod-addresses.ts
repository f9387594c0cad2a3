// Which captured pod has an address now, for kubelet.h: the kernel asks it when the kubelet connects. An address belongs
// to the pod that was captured with it last; who had it before takes nothing away when it leaves.

import type { IpAddress } from '../mesh/model/ip-address.ts';
import { BpfMap } from './bpf-map.ts';
import { writeAddress } from './map-layout.ts';

/** Size of the map in kubelet.h: every pod of `pods` with all the addresses it can have. */
const maxPodAddresses = 32_768;

export class PodAddresses {
  #map: BpfMap;

  constructor(fd: number) {
    this.#map = new BpfMap('pod_addresses', fd, { key: 16, value: 8 });
  }

  /** These and no others are the pod's. @throws BpfError map-failed */
  assign(netnsCookie: bigint, addresses: readonly IpAddress[]): void {
    const keys = addresses.map(addressKey);
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
    for (const key of this.#map.keys(maxPodAddresses)) {
      if (this.#map.get(key)?.readBigUInt64LE() === netnsCookie && which(key)) this.#map.delete(key);
    }
  }
}

function addressKey(address: IpAddress): Buffer {
  const key = Buffer.alloc(16);
  writeAddress(key, 0, address);
  return key;
}
