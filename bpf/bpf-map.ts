// One open BPF map, for the paths that are not hot (enrolment, takeover). Keys and values are bytes of fixed size;
// what they mean is map-layout.ts's. The descriptor belongs to whoever made the map.

import { Slab } from '../mesh/io/slab.ts';
import { systemError } from './bpf-error.ts';
import { libbpf } from './libbpf.ts';

const ENOENT = -2;

export class BpfMap {
  readonly fd: number;
  readonly name: string;
  #key: Slab;
  #value: Slab;
  #next: Slab;

  constructor(name: string, fd: number, sizes: { readonly key: number; readonly value: number }) {
    this.name = name;
    this.fd = fd;
    this.#key = new Slab(sizes.key);
    this.#value = new Slab(sizes.value);
    this.#next = new Slab(sizes.key);
  }

  /** The value's bytes, valid until the next call; undefined if there is none. @throws BpfError map-failed */
  get(key: Uint8Array): Buffer | undefined {
    this.#key.bytes.set(key);
    const result = libbpf().mapLookup(this.fd, this.#key.address, this.#value.address);
    if (result === ENOENT) return undefined;
    if (result < 0) throw systemError('map-failed', `Could not read map "${this.name}"`, -result);
    return this.#value.bytes;
  }

  /** @throws BpfError map-failed */
  set(key: Uint8Array, value: Uint8Array): void {
    this.#key.bytes.set(key);
    this.#value.bytes.set(value);
    const result = libbpf().mapUpdate(this.fd, this.#key.address, this.#value.address, 0);
    if (result < 0) {
      throw systemError('map-failed', `Could not write map "${this.name}"`, -result, 'it is full if E2BIG');
    }
  }

  /** No error if there is no such entry. @throws BpfError map-failed */
  delete(key: Uint8Array): void {
    this.#key.bytes.set(key);
    const result = libbpf().mapDelete(this.fd, this.#key.address);
    if (result < 0 && result !== ENOENT) {
      throw systemError('map-failed', `Could not delete from map "${this.name}"`, -result);
    }
  }

  /** All keys; `limit` bounds the walk should entries come and go meanwhile. */
  keys(limit: number): Buffer[] {
    const found: Buffer[] = [];
    let address = 0;
    while (found.length < limit && libbpf().mapNextKey(this.fd, address, this.#next.address) === 0) {
      found.push(Buffer.from(this.#next.bytes));
      this.#key.bytes.set(this.#next.bytes);
      address = this.#key.address;
    }
    return found;
  }
}
