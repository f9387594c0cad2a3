// The field lines of a head or of trailers (RFC 9112 section 5), read in one pass over the octets: strict names and
// values, no folding, no bare CR or LF. Fields that belong to the connection are taken out and understood here; what is
// left is a header list for any version. One instance is reused by all connections of a thread: take what is needed
// before the next read.

import type { Header } from '../h2/header.ts';
import {
  CONNECTION,
  CONTENT_LENGTH,
  EXPECT,
  fieldName,
  HOST,
  meaningOf,
  PLAIN,
  TE,
  TRANSFER_ENCODING,
  UPGRADE,
} from './field-names.ts';
import { fault, type HttpFault } from './http-error.ts';
import { isToken, pastOctets, TOKEN_LOWER, VALUE } from './octets.ts';

const CR = 0x0d;
const LF = 0x0a;
const SP = 0x20;
const HTAB = 0x09;
const COLON = 0x3a;

/** Fields of which no Connection option may rob the message: it would mean another one then. */
const indispensable = new Set(['host', 'content-length', 'authorization', 'cookie']);

export class FieldBlock {
  /** Position after the blank line. */
  end = 0;
  /** undefined if none. */
  host: string | undefined;
  /** -1 if none. */
  contentLength = -1;
  chunked = false;
  /** Connection options. */
  close = false;
  keepAlive = false;
  /** The protocol of an Upgrade that Connection names, lower case; undefined if there is none, or more than one. */
  upgrade: string | undefined;
  /** Lower case. */
  expect: string | undefined;
  #connection: string[] | undefined;
  #upgradeValue: string | undefined;
  #trailersWelcome = false;

  /**
   * Reads from `at`, the first octet of the first field line, appending to `list`, which may hold other entries already.
   * `text` is the latin1 string of `bytes` from `textStart` on, at least to the blank line. Whoever calls has found that
   * there is a blank line; no line can reach over it.
   */
  read(
    bytes: Buffer,
    list: Header[],
    span: {
      readonly at: number;
      readonly text: string;
      readonly textStart: number;
      readonly maxFields: number;
    },
  ): HttpFault | undefined {
    this.#clear();
    const { text, textStart } = span;
    const first = list.length;
    let left = span.maxFields;
    let at = span.at;
    for (;;) {
      const octet = bytes[at] as number;
      if (octet === CR && bytes[at + 1] === LF) break;
      if (left-- === 0) return fault(431, `more than ${span.maxFields} fields`);
      const start = at;
      let hash = 0;
      let lower = TOKEN_LOWER[octet] as number;
      while (lower !== 0) {
        hash = (Math.imul(hash, 31) + lower) | 0;
        lower = TOKEN_LOWER[bytes[++at] as number] as number;
      }
      if (bytes[at] !== COLON || at === start) return badName(octet);
      const field = fieldName(bytes, start, at, hash ^ (hash >>> 10));
      at++;
      while (bytes[at] === SP || bytes[at] === HTAB) at++;
      const valueStart = at;
      at = pastOctets(bytes, at, VALUE);
      if (bytes[at] !== CR || bytes[at + 1] !== LF) return fault(400, 'a field value holds a control octet');
      let valueEnd = at;
      while (valueEnd > valueStart && (bytes[valueEnd - 1] === SP || bytes[valueEnd - 1] === HTAB))
        valueEnd--;
      const value = text.slice(valueStart - textStart, valueEnd - textStart);
      if (field.meaning === PLAIN) {
        list.push([field.name, value]);
      } else {
        const refused = this.#special(field.meaning, value, list);
        if (refused !== undefined) return refused;
      }
      at += 2;
    }
    this.end = at + 2;
    return this.#connection === undefined ? undefined : this.#applyConnection(list, first);
  }

  #clear(): void {
    this.host = undefined;
    this.contentLength = -1;
    this.chunked = false;
    this.close = false;
    this.keepAlive = false;
    this.upgrade = undefined;
    this.expect = undefined;
    this.#connection = undefined;
    this.#upgradeValue = undefined;
    this.#trailersWelcome = false;
  }

  #special(meaning: number, value: string, list: Header[]): HttpFault | undefined {
    switch (meaning) {
      case HOST:
        if (this.host !== undefined) return fault(400, 'more than one Host');
        this.host = value;
        return undefined;
      case CONTENT_LENGTH:
        return this.#lengthField(value, list);
      case TRANSFER_ENCODING:
        return this.#codingField(value);
      case CONNECTION:
        return this.#connectionField(value);
      case UPGRADE:
        this.#upgradeValue = this.#upgradeValue === undefined ? value.toLowerCase() : ',';
        return undefined;
      case TE:
        if (!this.#trailersWelcome && hasMember(value.toLowerCase(), 'trailers')) {
          this.#trailersWelcome = true;
          list.push(['te', 'trailers']);
        }
        return undefined;
      case EXPECT:
        this.expect = this.expect === undefined ? value.toLowerCase() : `${this.expect},`;
        list.push(['expect', value]);
        return undefined;
      default:
        return undefined;
    }
  }

  // RFC 9112 section 6.3 would allow to mend some repetitions. Whoever mends them differently sees another message.
  #lengthField(value: string, list: Header[]): HttpFault | undefined {
    if (this.contentLength !== -1) return fault(400, 'more than one Content-Length');
    if (!/^[0-9]{1,15}$/.test(value)) return fault(400, 'Content-Length is no number of at most 15 digits');
    this.contentLength = Number(value);
    list.push(['content-length', value]);
    return undefined;
  }

  #codingField(value: string): HttpFault | undefined {
    if (this.chunked) return fault(400, 'more than one Transfer-Encoding');
    const codings = value.toLowerCase().split(',');
    if (codings.length === 1 && codings[0] === 'chunked') {
      this.chunked = true;
      return undefined;
    }
    // RFC 9112 section 6.1: a coding that is not understood, but framed so that the end can be found, is a 501.
    const known = codings.every((coding) => isToken(coding.trim())) && codings.at(-1)?.trim() === 'chunked';
    return known && codings.length > 1 && !codings.slice(0, -1).some((coding) => coding.trim() === 'chunked')
      ? fault(501, 'a transfer coding other than chunked')
      : fault(400, 'Transfer-Encoding does not end in one chunked');
  }

  #connectionField(value: string): HttpFault | undefined {
    const lower = value.toLowerCase();
    if (lower === 'keep-alive') this.keepAlive = true;
    else if (lower === 'close') this.close = true;
    else {
      for (const option of lower.split(',')) {
        const name = option.trim();
        if (name === '') continue;
        if (!isToken(name)) return fault(400, 'a Connection option is no token');
        if (name === 'close') this.close = true;
        else if (name === 'keep-alive') this.keepAlive = true;
        else if (indispensable.has(name))
          return fault(400, 'Connection names a field that belongs to the message');
        else (this.#connection ??= []).push(name);
      }
    }
    return undefined;
  }

  /** Takes out what Connection names (RFC 9110 section 7.6.1). */
  #applyConnection(list: Header[], first: number): undefined {
    const options = this.#connection ?? [];
    const upgrade = this.#upgradeValue;
    if (upgrade !== undefined && options.includes('upgrade') && isProtocol(upgrade)) this.upgrade = upgrade;
    const named = options.filter((name) => meaningOf(name) === PLAIN);
    if (named.length === 0) return;
    let kept = first;
    for (let i = first; i < list.length; i++) {
      const header = list[i] as Header;
      if (!named.includes(header[0])) list[kept++] = header;
    }
    list.length = kept;
  }
}

function badName(octet: number): HttpFault {
  if (octet === SP || octet === HTAB) return fault(400, 'a folded field line');
  if (octet === CR || octet === LF) return fault(400, 'a bare CR or LF');
  return fault(400, 'a field name is no token, or not followed by a colon');
}

function hasMember(list: string, member: string): boolean {
  return list === member || list.split(',').some((each) => each.trim() === member);
}

/** One protocol, as `websocket` or `name/version` (RFC 9110 section 7.8). h2c is never granted: RFC 9113 dropped it. */
function isProtocol(text: string): boolean {
  const slash = text.indexOf('/');
  const name = slash === -1 ? text : text.slice(0, slash);
  return isToken(name) && (slash === -1 || isToken(text.slice(slash + 1))) && name !== 'h2c';
}
