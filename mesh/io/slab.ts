// A slab: a block of bytes whose address the I/O layer knows, so that hot calls pass numbers and make no object.
// Users outside mesh/io see only `bytes`; the address stays inside this folder.

import koffi from 'koffi';

export class Slab {
  readonly bytes: Buffer;
  /** Address of `bytes[0]`. For mesh/io only; a Slab's memory never moves while the Slab is referenced. */
  readonly address: number;

  /** @param size bytes, 1 to 2^31-1. */
  constructor(size: number) {
    // allocUnsafeSlow: its own ArrayBuffer, never a slice of Node's shared pool.
    this.bytes = Buffer.allocUnsafeSlow(size);
    this.address = Number(koffi.address(this.bytes));
  }
}
