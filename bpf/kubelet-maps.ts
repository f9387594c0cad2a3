// Whose connections to captured pods the kernel takes for the kubelet's probes (kubelet.h), and how many there were.
// Pinned with the instance: probes go on while no process runs. Decides nothing; finding the kubelet is the caller's.

import { closeSync } from 'node:fs';
import { openNetns, withNetnsFd } from '../mesh/io/netns.ts';
import { BpfMap } from './bpf-map.ts';
import { currentNetnsCookie } from './pod-capture.ts';

/** Descriptors, valid while the Redirect they come from is open. */
export interface KubeletMapFds {
  readonly kubelets: number;
  readonly probes: number;
}

/** `struct prober` in layout.h: a connection must have both. */
export interface Prober {
  /** Inode of the process's directory in the cgroup2 tree. */
  readonly cgroupId: bigint;
  /** Of the namespace its sockets are in. */
  readonly netnsCookie: bigint;
}

/** Size of the map in kubelet.h. */
export const maxProbers = 16;
const proberSize = 16;
const onlyEntry = new Uint8Array(4);

export class KubeletMaps {
  #kubelets: BpfMap;
  #probes: BpfMap;

  constructor(fds: KubeletMapFds) {
    this.#kubelets = new BpfMap('kubelets', fds.kubelets, { key: proberSize, value: 4 });
    this.#probes = new BpfMap('probes', fds.probes, { key: 4, value: 8 });
  }

  /** These and no others, at most 16; also those of an earlier process go. @throws BpfError map-failed */
  admitOnly(probers: readonly Prober[]): void {
    const keys = probers.slice(0, maxProbers).map(encodeProber);
    for (const key of this.#kubelets.keys(maxProbers)) {
      if (!keys.some((own) => own.equals(key))) this.#kubelets.delete(key);
    }
    for (const key of keys) this.#kubelets.set(key, onlyEntry);
  }

  /** Connections since the instance was made, also those while no process ran. @throws BpfError map-failed */
  admitted(): number {
    return Number(this.#probes.get(onlyEntry)?.readBigUInt64LE() ?? 0n);
  }
}

/** Cookie of the namespace at a path, for example `/proc/1/ns/net`. @throws NetnsError not-found, not-permitted */
export function netnsCookieAt(path: string): bigint {
  const fd = openNetns(path);
  try {
    return withNetnsFd(fd, currentNetnsCookie);
  } finally {
    closeSync(fd);
  }
}

function encodeProber({ cgroupId, netnsCookie }: Prober): Buffer {
  const out = Buffer.alloc(proberSize);
  out.writeBigUInt64LE(cgroupId, 0);
  out.writeBigUInt64LE(netnsCookie, 8);
  return out;
}
