// The static Huffman code of HPACK (RFC 7541 appendix B): encode to bytes, decode with a table of one step per nibble.
// The code is canonical, so code lengths alone define it; codes and the decode table are computed once at load.

import { H2Error } from '../error.ts';

const EOS = 256;

/** Bits of the code of each symbol 0 to 255, then EOS (RFC 7541 appendix B). */
// biome-ignore format: a table
const LENGTHS = Uint8Array.of(
  13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
  6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
  13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
  15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
  20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
  22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
  26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
  20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
  30,
);

const CODES = canonicalCodes();

// Decode step, one 32-bit entry for (state, nibble): bits 0-7 next state, 8-15 symbol, 16 emit, 17 a string may end here, 18 error.
const EMIT = 1 << 16;
const ACCEPT = 1 << 17;
const FAIL = 1 << 18;
const STEPS = decodeSteps();

/** Codes of equal length are consecutive in symbol order, each length starts where the shorter one ended. */
function canonicalCodes(): Uint32Array {
  const codes = new Uint32Array(257);
  let code = 0;
  for (let length = 5; length <= 30; length += 1) {
    for (let symbol = 0; symbol <= EOS; symbol += 1) if (LENGTHS[symbol] === length) codes[symbol] = code++;
    code <<= 1;
  }
  return codes;
}

interface Node {
  /** Number among the inner nodes: 256 of them, as a full binary tree of 257 leaves has. */
  readonly state: number;
  /** Padding: at most 7 bits, all ones, from the root (RFC 7541 section 5.2). */
  readonly accept: boolean;
  readonly children: [Node | number | undefined, Node | number | undefined];
}

function decodeSteps(): Uint32Array {
  const nodes: Node[] = [];
  const add = (accept: boolean): Node => {
    const node: Node = { state: nodes.length, accept, children: [undefined, undefined] };
    nodes.push(node);
    return node;
  };
  const root = add(true);
  for (let symbol = 0; symbol <= EOS; symbol += 1) {
    const length = LENGTHS[symbol] as number;
    const code = CODES[symbol] as number;
    let node = root;
    for (let depth = 1; depth < length; depth += 1) {
      const bit = (code >>> (length - depth)) & 1;
      const next = node.children[bit] ?? add(bit === 1 && node.accept && depth < 8);
      node.children[bit] = next;
      node = next as Node;
    }
    node.children[code & 1] = symbol;
  }
  const steps = new Uint32Array(nodes.length * 16);
  for (const node of nodes) {
    for (let nibble = 0; nibble < 16; nibble += 1) steps[node.state * 16 + nibble] = step(root, node, nibble);
  }
  return steps;
}

/** Walks four bits; the shortest code has five, so at most one symbol comes out. */
function step(root: Node, from: Node, nibble: number): number {
  let node = from;
  let out = 0;
  for (let bit = 3; bit >= 0; bit -= 1) {
    const next = node.children[(nibble >> bit) & 1] as Node | number;
    if (next === EOS) return FAIL;
    if (typeof next === 'number') {
      out = EMIT | (next << 8);
      node = root;
    } else {
      node = next;
    }
  }
  return out | node.state | (node.accept ? ACCEPT : 0);
}

/**
 * Decodes `bytes[start, end)` into `out` from 0 on and returns the number of octets.
 * `out` must hold `(end - start) * 8 / 5` octets. Throws COMPRESSION_ERROR for EOS or wrong padding.
 */
export function huffmanDecode(
  bytes: Buffer,
  start: number,
  end: number,
  out: Buffer, // positional: called for nearly every string
): number {
  let state = 0;
  let length = 0;
  let accept = ACCEPT;
  for (let at = start; at < end; at += 1) {
    const byte = bytes[at] as number;
    let entry = STEPS[(state << 4) | (byte >> 4)] as number;
    if ((entry & FAIL) !== 0) throw malformed();
    if ((entry & EMIT) !== 0) out[length++] = (entry >> 8) & 0xff;
    entry = STEPS[((entry & 0xff) << 4) | (byte & 15)] as number;
    if ((entry & FAIL) !== 0) throw malformed();
    if ((entry & EMIT) !== 0) out[length++] = (entry >> 8) & 0xff;
    state = entry & 0xff;
    accept = entry & ACCEPT;
  }
  if (accept === 0) throw malformed();
  return length;
}

function malformed(): H2Error {
  return new H2Error('COMPRESSION_ERROR', 'Decoding a header block: malformed Huffman string');
}

/** Octets the Huffman form of `text` takes. Characters above 0xff are the caller's error. */
export function huffmanLength(text: string): number {
  let bits = 0;
  for (let i = 0; i < text.length; i += 1) bits += LENGTHS[text.charCodeAt(i)] as number;
  return (bits + 7) >>> 3;
}

/** Writes the Huffman form of `text` at `at`; returns the position after it. */
export function huffmanEncode(text: string, bytes: Buffer, at: number): number {
  let pending = 0;
  let count = 0;
  for (let i = 0; i < text.length; i += 1) {
    const symbol = text.charCodeAt(i);
    const code = CODES[symbol] as number;
    let length = LENGTHS[symbol] as number;
    if (length > 16) {
      // Up to 7 pending bits and a code of 30 do not fit 32 bits: the upper part goes first.
      length -= 16;
      pending = (pending << length) | (code >>> 16);
      count += length;
      while (count >= 8) bytes[at++] = pending >>> (count -= 8);
      pending = ((pending & 0xff) << 16) | (code & 0xffff);
      count += 16;
    } else {
      pending = (pending << length) | code;
      count += length;
    }
    while (count >= 8) bytes[at++] = pending >>> (count -= 8);
    pending &= 0xff;
  }
  if (count > 0) bytes[at++] = (pending << (8 - count)) | (0xff >> count);
  return at;
}
