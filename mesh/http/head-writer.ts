// Puts heads and trailers on the wire as HTTP/1.1 (RFC 9112): from the header list of a stream to octets, with the
// fields that frame the body. Whatever the list came from, HTTP/2 or a filter, nothing in it can end a line or a head:
// the octets are checked as they are written. One instance serves all connections of a thread.

import { H2Error } from '../h2/error.ts';
import { type Header, headerValue } from '../h2/header.ts';
import { Slab } from '../io/slab.ts';
import { CONTENT_LENGTH, EXPECT, HOP_BY_HOP, HOST, meaningOf, PLAIN, TE } from './field-names.ts';
import { isTarget, isToken, OCTET, VALUE } from './octets.ts';

/** How the body behind a head ends (RFC 9112 section 6.3). */
export type Framing =
  | 'none' // no body, whatever the head says
  | 'length'
  | 'chunked'
  | 'close' // with the connection
  | 'raw'; // no HTTP any more, after a 101

// Not imported: an import reads every export, and one of node:http's is a getter that loads all of fetch (5 MB).
const { STATUS_CODES } = process.getBuiltinModule('node:http');

/** Larger heads are not sent; no known peer accepts near as much. */
const maxHeadBytes = 1024 * 1024;
const notSendable = -1;
const maxKnownNames = 1024;

/** Meanings of names that were checked before; bounded, as filters and HTTP/2 peers choose names. */
const known = new Map<string, number>([[':upgrade', HOP_BY_HOP]]);

export class HeadWriter {
  /** The octets lie at 0 to `length`. */
  slab = new Slab(16 * 1024);
  length = 0;
  framing: Framing = 'none';
  /** With framing `length`. */
  contentLength = 0;
  #text = '';
  #lines = 0;
  #length = -1;

  /**
   * `list` begins with :status.
   * @param options.close the connection ends after this response; @param options.head the request was HEAD.
   * @throws H2Error INTERNAL_ERROR for a list that can not be sent
   */
  response(
    list: readonly Header[],
    endStream: boolean,
    options: { readonly minorVersion: 0 | 1; readonly head: boolean; readonly close: boolean },
  ): void {
    const status = statusOf(list);
    this.#begin(statusLine(status));
    const informational = status < 200;
    const lengthless = informational || status === 204;
    this.#fields(list, { from: 1, lengthless, request: false });
    if (status === 101) {
      this.#line(`connection: upgrade\r\nupgrade: ${upgradeOf(list)}`, 2);
      this.framing = 'raw';
    } else if (lengthless || status === 304 || options.head) {
      this.framing = 'none';
      // As it would say to GET; some clients take a HEAD without either for one that ends with the connection.
      if (
        options.head &&
        status !== 304 &&
        !lengthless &&
        this.#length === -1 &&
        options.minorVersion === 1
      ) {
        this.#line('transfer-encoding: chunked', 1);
      }
    } else if (!this.#frameLength(endStream, true)) {
      this.framing = options.minorVersion === 1 ? 'chunked' : 'close';
      if (this.framing === 'chunked') this.#line('transfer-encoding: chunked', 1);
    }
    if (!informational) {
      if (options.close || this.framing === 'close') this.#line('connection: close', 1);
      else if (options.minorVersion === 0) this.#line('connection: keep-alive', 1);
    }
    this.#finish();
  }

  /**
   * `list` begins with the pseudo headers.
   * @throws H2Error INTERNAL_ERROR for a list that can not be sent
   */
  request(list: readonly Header[], endStream: boolean): void {
    let method = '';
    let path = '';
    let authority = '';
    let upgrade: string | undefined;
    let at = 0;
    for (; at < list.length; at++) {
      const [name, value] = list[at] as Header;
      if (name === ':method') method = value;
      else if (name === ':path') path = value;
      else if (name === ':authority') authority = value;
      else if (name === ':upgrade') upgrade = value;
      else if (name !== ':scheme') break;
    }
    if (!isToken(method) || method === 'CONNECT' || !isTarget(path))
      throw misuse(`method or path of ${method} is not allowed`);
    this.#begin(`${method} ${path} HTTP/1.1\r\nhost: ${authority}\r\n`);
    this.#lines++;
    const welcome = this.#fields(list, { from: at, lengthless: false, request: true });
    if (upgrade !== undefined) {
      if (this.#length > 0) throw misuse('an upgrade with a body');
      this.#line(`connection: upgrade${welcome ? ', te' : ''}\r\nupgrade: ${upgrade}`, 2);
      this.framing = 'none';
    } else {
      if (welcome) this.#line('connection: te', 1);
      const bodyExpected = method === 'POST' || method === 'PUT' || method === 'PATCH';
      if (!this.#frameLength(endStream, bodyExpected)) {
        this.framing = 'chunked';
        this.#line('transfer-encoding: chunked', 1);
      }
    }
    this.#finish();
  }

  /** The last chunk and the trailers behind it. @throws H2Error INTERNAL_ERROR for a list that can not be sent */
  trailers(list: readonly Header[]): void {
    this.#begin('0\r\n');
    this.#fields(list, { from: 0, lengthless: true, request: false });
    this.#finish();
  }

  #begin(text: string): void {
    this.#text = text;
    this.#lines = 1;
    this.#length = -1;
    this.contentLength = 0;
  }

  #line(text: string, lines: number): void {
    this.#text += `${text}\r\n`;
    this.#lines += lines;
  }

  /** Returns whether trailers are welcome (TE). */
  #fields(
    list: readonly Header[],
    options: { readonly from: number; readonly lengthless: boolean; readonly request: boolean },
  ): boolean {
    let text = this.#text;
    let cookie: string | undefined;
    let welcome = false;
    const { from, lengthless, request } = options;
    for (let i = from; i < list.length; i++) {
      const [name, value] = list[i] as Header;
      const meaning = known.get(name) ?? learn(name);
      if (meaning !== PLAIN && meaning !== EXPECT) {
        if (meaning === notSendable) throw misuse(`field name "${name.slice(0, 64)}" is not allowed`);
        if (meaning === CONTENT_LENGTH) {
          if (lengthless || !this.#takeLength(value)) continue;
        } else if (meaning === TE && request) {
          welcome = true;
        } else if (meaning !== HOST || request) continue;
      } else if (request && name === 'cookie') {
        // RFC 9113 section 8.2.3: HTTP/2 may have split it.
        cookie = cookie === undefined ? value : `${cookie}; ${value}`;
        continue;
      }
      text += `${name}: ${value}\r\n`;
      this.#lines++;
    }
    this.#text = text;
    if (cookie !== undefined) this.#line(`cookie: ${cookie}`, 1);
    return welcome;
  }

  /** False if it was there already. */
  #takeLength(value: string): boolean {
    if (!/^[0-9]{1,15}$/.test(value)) throw misuse('content-length is no number');
    const length = Number(value);
    if (this.#length !== -1 && this.#length !== length) throw misuse('two lengths');
    const first = this.#length === -1;
    this.#length = length;
    return first;
  }

  /** Frames by length if there is one, or if there is nothing to send; false otherwise. */
  #frameLength(endStream: boolean, sayZero: boolean): boolean {
    if (endStream && this.#length > 0) throw misuse(`no body, but a content-length of ${this.#length}`);
    if (this.#length === -1 && !endStream) return false;
    if (this.#length === -1 && sayZero) this.#line('content-length: 0', 1);
    this.framing = 'length';
    this.contentLength = Math.max(this.#length, 0);
    return true;
  }

  #finish(): void {
    const text = `${this.#text}\r\n`;
    this.#text = '';
    const length = text.length;
    if (length > this.slab.bytes.length) {
      if (length > maxHeadBytes) throw misuse(`a head of ${length} octets`);
      this.slab = new Slab(2 * length);
    }
    const { bytes } = this.slab;
    bytes.write(text, 0, length, 'latin1');
    // Each line ends in the only two octets that no field may hold: one more, and a value was not what it seemed.
    let controls = -2 * (this.#lines + 1);
    for (let i = 0; i < length; i++) if (((OCTET[bytes[i] as number] as number) & VALUE) === 0) controls++;
    if (controls !== 0) throw misuse('a value holds a control octet');
    this.length = length;
  }
}

function learn(name: string): number {
  const lower = name.toLowerCase();
  const meaning = isToken(name) ? meaningOf(lower) : notSendable;
  if (known.size < maxKnownNames && name.length <= 64) known.set(name, meaning);
  return meaning;
}

function statusOf(list: readonly Header[]): number {
  const first = list[0];
  const status = first?.[0] === ':status' ? Number(first[1]) : 0;
  if (status >= 100 && status <= 999) return status;
  throw misuse('no :status of three digits in front');
}

function upgradeOf(list: readonly Header[]): string {
  const upgrade = headerValue(list, ':upgrade');
  if (upgrade !== undefined) return upgrade;
  throw misuse('101 without :upgrade');
}

const statusLines = new Map<number, string>();

function statusLine(status: number): string {
  let line = statusLines.get(status);
  if (line === undefined) {
    // The reason phrase is for people, and may be empty (RFC 9112 section 4).
    line = `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\n`;
    statusLines.set(status, line);
  }
  return line;
}

function misuse(what: string): H2Error {
  return new H2Error('INTERNAL_ERROR', `Sending an HTTP/1.1 head: ${what}`);
}
