// The chunked transfer coding on the way in (RFC 9112 section 7.1), without copies: tells where data lies. Strict where
// readers differ: sizes of hex digits only, CRLF only, one CRLF behind each chunk. Extensions of tokens are skipped
// within a bound; trailers are gathered like a head.

import type { Header } from '../h2/header.ts';
import { FieldBlock } from './field-block.ts';
import { HeadGatherer, type HeadLimits, type InputBudget } from './head-gatherer.ts';
import { fault, type HttpFault } from './http-error.ts';
import { allowedTrailers } from './trailer-fields.ts';
import { OCTET, TOKEN } from './octets.ts';

const CR = 0x0d;
const LF = 0x0a;
const SEMICOLON = 0x3b;
const EQUALS = 0x3d;
/** 2^44 and more in one chunk: nobody sends that, and sums stay exact. */
const maxSizeDigits = 11;
/** Of all chunks of a message together: they are never needed, and an endless one is an attack (CVE-2023-39326). */
const maxExtensionBytes = 16 * 1024;

type State = 'size' | 'extension' | 'size-lf' | 'data' | 'data-cr' | 'data-lf' | 'trailers' | 'done';

const trailerBlock = new FieldBlock();

export class ChunkedDecoder {
  /** After `next` returned DATA: where the octets lie. */
  dataStart = 0;
  dataEnd = 0;
  /** After DONE: allowed trailers. */
  trailers: Header[] = [];
  /** After FAULT. */
  fault: HttpFault | undefined;
  readonly #limits: HeadLimits;
  readonly #gatherer: HeadGatherer;
  #state: State = 'size';
  #left = 0;
  #digits = 0;
  #extensionBytes = 0;
  #extensionPart: 'begin' | 'name' | 'equals' | 'value' = 'begin';

  constructor(limits: HeadLimits, budget: InputBudget) {
    this.#limits = limits;
    this.#gatherer = new HeadGatherer('trailers', limits, budget);
  }

  /** For the next message. */
  reset(): void {
    this.#gatherer.clear();
    this.#state = 'size';
    this.#left = 0;
    this.#digits = 0;
    this.#extensionBytes = 0;
    this.trailers = [];
    this.fault = undefined;
  }

  /**
   * Reads on from `at`. `data`: octets lie from `dataStart` to `dataEnd`, go on from there. `done`: the message ended
   * at `dataEnd`. `more`: all was taken. `fault`: it is none.
   */
  next(bytes: Buffer, at: number, end: number): 'data' | 'done' | 'more' | 'fault' {
    let i = at;
    while (i < end) {
      if (this.#state === 'data') {
        const length = Math.min(this.#left, end - i);
        this.dataStart = i;
        this.dataEnd = i + length;
        this.#left -= length;
        if (this.#left === 0) this.#state = 'data-cr';
        return 'data';
      }
      if (this.#state === 'trailers') return this.#readTrailers(bytes, i, end);
      const refused = this.#frame(bytes[i++] as number);
      if (refused !== undefined) {
        this.fault = fault(400, refused);
        return 'fault';
      }
    }
    return 'more';
  }

  /** One octet outside of data; the reason if it may not stand there. */
  #frame(octet: number): string | undefined {
    switch (this.#state) {
      case 'size':
        return this.#sizeOctet(octet);
      case 'extension':
        return this.#extensionOctet(octet);
      case 'size-lf':
        if (octet !== LF) return 'a chunk size does not end in CRLF';
        this.#state = this.#left === 0 ? 'trailers' : 'data';
        this.#digits = 0;
        return undefined;
      case 'data-cr':
        this.#state = 'data-lf';
        return octet === CR ? undefined : 'a chunk is longer than its size';
      case 'data-lf':
        this.#state = 'size';
        return octet === LF ? undefined : 'a chunk does not end in CRLF';
      default:
        return 'octets behind the end';
    }
  }

  #sizeOctet(octet: number): string | undefined {
    const digit = hexDigit(octet);
    if (digit !== -1) {
      this.#left = this.#left * 16 + digit;
      return ++this.#digits > maxSizeDigits ? 'a chunk size is too large' : undefined;
    }
    if (this.#digits === 0) return 'a chunk size is no hex number';
    if (octet === CR) this.#state = 'size-lf';
    else if (octet === SEMICOLON) {
      this.#state = 'extension';
      this.#extensionPart = 'begin';
    } else return 'a chunk size is no hex number';
    return undefined;
  }

  /** `;name` or `;name=value`, of tokens: quoted values are not read alike by everybody. */
  #extensionOctet(octet: number): string | undefined {
    const part = this.#extensionPart;
    const filled = part === 'name' || part === 'value';
    if (++this.#extensionBytes > maxExtensionBytes) return 'chunk extensions are too long';
    if (((OCTET[octet] as number) & TOKEN) !== 0) {
      if (!filled) this.#extensionPart = part === 'begin' ? 'name' : 'value';
      return undefined;
    }
    if (!filled) return 'a chunk extension without a name or a value';
    if (octet === CR) this.#state = 'size-lf';
    else if (octet === SEMICOLON) this.#extensionPart = 'begin';
    else if (octet === EQUALS && part === 'name') this.#extensionPart = 'equals';
    else return 'a chunk extension of another form than name=token';
    return undefined;
  }

  #readTrailers(bytes: Buffer, at: number, end: number): 'done' | 'more' | 'fault' {
    const gatherer = this.#gatherer;
    // The usual case: none.
    if (gatherer.length === 0 && end - at >= 2 && bytes[at] === CR && bytes[at + 1] === LF)
      return this.#done(at + 2);
    const taken = gatherer.add(bytes, at, end);
    if (taken === -1) return 'more';
    if (typeof taken !== 'number') {
      this.fault = taken;
      return 'fault';
    }
    return this.#parseTrailers() ?? this.#done(at + taken);
  }

  #parseTrailers(): 'fault' | undefined {
    const { bytes, length } = this.#gatherer;
    const list: Header[] = [];
    const text = bytes.toString('latin1', 0, length);
    this.fault = trailerBlock.read(bytes, list, {
      at: 0,
      text,
      textStart: 0,
      maxFields: this.#limits.maxFields,
    });
    this.#gatherer.clear();
    // Too late to frame the message, but not for every reader.
    if (trailerBlock.chunked || trailerBlock.contentLength !== -1) {
      this.fault ??= fault(400, 'trailers that frame a message');
    }
    if (this.fault !== undefined) return 'fault';
    this.trailers = allowedTrailers(list);
    return undefined;
  }

  #done(at: number): 'done' {
    this.#state = 'done';
    this.dataEnd = at;
    return 'done';
  }
}

function hexDigit(octet: number): number {
  if (octet >= 0x30 && octet <= 0x39) return octet - 0x30;
  const lower = octet | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1;
}
