// The head of an HTTP/1.1 response (RFC 9112 section 4), read as strictly as a request's: a response that two readers
// could frame differently is refused. Pure; one instance serves all connections of a thread, its fields hold until the
// next read.

import type { Header } from '../h2/header.ts';
import { FieldBlock } from './field-block.ts';
import type { HeadParser } from './head-intake.ts';
import { fault, type HttpFault } from './http-error.ts';
import { pastOctets, VALUE } from './octets.ts';

const SP = 0x20;
const CR = 0x0d;

const block = new FieldBlock();

export interface ResponseHeadOptions {
  readonly maxFields: number;
}

export class ResponseHeadReader implements HeadParser<ResponseHeadOptions> {
  list: Header[] = [];
  /** Position after the head. */
  end = 0;
  /** 100 to 999. */
  status = 0;
  /** -1 if there is none. */
  contentLength = -1;
  chunked = false;
  /** The server lets the connection live on. */
  keepAlive = true;
  /** Of a 101: the protocol that begins, lower case. */
  upgrade: string | undefined;

  /** As RequestHeadReader.read; faults are 502, or 431 for too many fields. */
  read(
    bytes: Buffer,
    span: { readonly start: number; readonly limit: number },
    options: ResponseHeadOptions,
  ): HttpFault | undefined {
    const { start, limit } = span;
    const reasonEnd = this.#statusLine(bytes, start);
    if (reasonEnd === -1) return fault(502, 'no status line of HTTP/1.0 or HTTP/1.1');
    const text = bytes.toString('latin1', start, limit);
    this.list = [[':status', text.slice(9, 12)]];
    const at = reasonEnd + 2;
    const refused = block.read(bytes, this.list, {
      at,
      text,
      textStart: start,
      maxFields: options.maxFields,
    });
    if (refused !== undefined) return refused.status === 431 ? refused : fault(502, refused.reason);
    this.end = block.end;
    return this.#framing(bytes[start + 7] === 0x31);
  }

  /** Position of the CR that ends it, -1 if it is malformed. The reason phrase is dropped: HTTP/2 has none. */
  #statusLine(bytes: Buffer, at: number): number {
    for (let i = 0; i < 7; i++) if (bytes[at + i] !== 'HTTP/1.'.charCodeAt(i)) return -1;
    if ((bytes[at + 7] !== 0x30 && bytes[at + 7] !== 0x31) || bytes[at + 8] !== SP) return -1;
    let status = 0;
    for (let i = 9; i < 12; i++) {
      const digit = (bytes[at + i] as number) - 0x30;
      if (digit < 0 || digit > 9) return -1;
      status = status * 10 + digit;
    }
    let end = at + 12;
    // Some servers leave out the blank before an empty phrase; nothing else can be meant.
    if (status < 100 || (bytes[end] !== SP && bytes[end] !== CR)) return -1;
    end = pastOctets(bytes, end, VALUE);
    if (bytes[end] !== CR || bytes[end + 1] !== 0x0a) return -1;
    this.status = status;
    return end;
  }

  #framing(modern: boolean): HttpFault | undefined {
    const { contentLength, chunked } = block;
    // RFC 9112 section 6.1 and 6.3: each of them may be an attempt at response splitting.
    if (chunked && !modern) return fault(502, 'Transfer-Encoding in HTTP/1.0');
    if (chunked && contentLength !== -1) return fault(502, 'Content-Length beside Transfer-Encoding');
    this.chunked = chunked;
    this.contentLength = contentLength;
    this.keepAlive = modern ? !block.close : block.keepAlive && !block.close;
    this.upgrade = this.status === 101 ? block.upgrade : undefined;
    if (this.status === 101) {
      if (this.upgrade === undefined) return fault(502, '101 without one Upgrade');
      this.list.splice(1, 0, [':upgrade', this.upgrade]);
    }
    return undefined;
  }
}
