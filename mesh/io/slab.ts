// A slab: a block of bytes whose address the I/O layer knows, so that hot calls pass numbers and make no object.
// Users outside mesh/io see only `bytes`; the address stays inside this folder.

import koffi from 'koffi';

/**
 * Octets kept free in front of what is read into a slab, so that whoever passes it on may put a frame or chunk header
 * there: the 9 of an HTTP/2 frame, and the 7 of a chunk in front of which such a frame goes.
 */
export const HEAD_ROOM = 16;

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

  /** The pointer that a call stored at `offset`. User addresses have 47 bits, or 56: a number holds them without a BigInt. */
  pointerAt(offset: number): number {
    return this.bytes.readUInt32LE(offset) + this.bytes.readUInt32LE(offset + 4) * 2 ** 32;
  }
}
