// The head of an HTTP/1.1 request (RFC 9112 sections 2 to 3, 6), read strictly: one interpretation, or a status to refuse
// it with. The result is a header list as HTTP/2 has it, and how the body is framed. Pure; one instance serves all
// connections of a thread, its fields hold until the next read.

import type { Header } from '../h2/header.ts';
import { FieldBlock } from './field-block.ts';
import type { HeadParser } from './head-intake.ts';
import { fault, type HttpFault } from './http-error.ts';
import { isAuthority, METHOD, pastOctets, TARGET } from './octets.ts';

const SP = 0x20;
const SLASH = 0x2f;
const ASTERISK = 0x2a;
/** No method in use is near as long. */
const maxMethodBytes = 64;

const block = new FieldBlock();

export interface RequestHeadOptions {
  /** What :scheme says of a request that does not say it itself. */
  readonly scheme: 'http' | 'https';
  readonly maxFields: number;
}

export class RequestHeadReader implements HeadParser<RequestHeadOptions> {
  list: Header[] = [];
  /** Position after the head. */
  end = 0;
  /** -1 if there is none; 0 says that there is no body. */
  contentLength = -1;
  chunked = false;
  minorVersion: 0 | 1 = 1;
  /** The connection may live on after the answer. */
  keepAlive = true;
  upgrade: string | undefined;
  /** The client waits for a 100 before it sends the body. */
  expectsContinue = false;
  isHead = false;

  /**
   * Reads a head that begins at `start` and is known to have its blank line before `limit`.
   * Returns why it is refused; undefined if it is fine.
   */
  read(
    bytes: Buffer,
    span: { readonly start: number; readonly limit: number },
    options: RequestHeadOptions,
  ): HttpFault | undefined {
    const { start, limit } = span;
    const methodEnd = pastOctets(bytes, start, METHOD);
    if (methodEnd === start || bytes[methodEnd] !== SP || methodEnd - start > maxMethodBytes)
      return fault(400, 'the request line does not begin with a method');
    const targetStart = methodEnd + 1;
    const targetEnd = pastOctets(bytes, targetStart, TARGET);
    if (targetEnd === targetStart || bytes[targetEnd] !== SP)
      return fault(400, 'the request target is empty or holds a forbidden octet');
    const versionFault = this.#version(bytes, targetEnd + 1);
    if (versionFault !== undefined) return versionFault;

    const text = bytes.toString('latin1', start, limit);
    const method = text.slice(0, methodEnd - start);
    const target = text.slice(targetStart - start, targetEnd - start);
    // The places of the pseudo headers; :authority is known only behind the fields.
    const list: Header[] = [
      [':method', method],
      [':scheme', options.scheme],
      [':authority', ''],
      [':path', target],
    ];
    this.list = list;
    const at = targetEnd + 11;
    const refused = block.read(bytes, list, { at, text, textStart: start, maxFields: options.maxFields });
    if (refused !== undefined) return refused;
    this.end = block.end;
    return this.#target(method, target, bytes[targetStart] as number) ?? this.#framing();
  }

  /** `HTTP/1.0` or `HTTP/1.1` and the end of the line. A later 1.x would be free to mean something else. */
  #version(bytes: Buffer, at: number): HttpFault | undefined {
    const http =
      bytes[at] === 0x48 &&
      bytes[at + 1] === 0x54 &&
      bytes[at + 2] === 0x54 &&
      bytes[at + 3] === 0x50 &&
      bytes[at + 4] === SLASH;
    const minor = (bytes[at + 7] as number) - 0x30;
    const wellFormed =
      http && isDigit(bytes[at + 5] as number) && bytes[at + 6] === 0x2e && isDigit(bytes[at + 7] as number);
    if (!wellFormed || bytes[at + 8] !== 0x0d || bytes[at + 9] !== 0x0a)
      return fault(400, 'the request line does not end in a version');
    if (bytes[at + 5] !== 0x31 || minor > 1) return fault(505, 'a version other than 1.0 and 1.1');
    this.minorVersion = minor === 0 ? 0 : 1;
    return undefined;
  }

  /** RFC 9112 section 3.2: origin-form, absolute-form, or `*` for OPTIONS; then section 3.2.2 and 3.2.3 for Host. */
  #target(method: string, target: string, first: number): HttpFault | undefined {
    const { host } = block;
    this.isHead = method === 'HEAD';
    if (method === 'CONNECT') return fault(501, 'CONNECT');
    if (host === undefined && this.minorVersion === 1) return fault(400, 'no Host');
    if (host !== undefined && !isAuthority(host)) return fault(400, 'Host is no host and port');
    let authority = host ?? '';
    if (first !== SLASH) {
      if (first === ASTERISK && target.length === 1) {
        if (method !== 'OPTIONS') return fault(400, '"*" as target of another method than OPTIONS');
      } else {
        const absolute = this.#absolute(target);
        if (absolute === undefined) return fault(400, 'the request target has no valid form');
        if (host !== undefined && host.toLowerCase() !== absolute.toLowerCase())
          return fault(400, 'Host differs from the request target');
        authority = absolute;
      }
    }
    this.list[2] = [':authority', authority];
    return undefined;
  }

  /** Takes an absolute URI apart into scheme, path and the authority it returns; undefined if it is none. */
  #absolute(target: string): string | undefined {
    const match = /^(https?):\/\/([^/?]+)(\/[^?]*)?(\?.*)?$/i.exec(target);
    if (match === null) return undefined;
    const [, scheme = '', authority = '', path = '/', query = ''] = match;
    if (!isAuthority(authority)) return undefined;
    this.list[1] = [':scheme', scheme.toLowerCase()];
    // RFC 9112 section 3.2.4: without path and query, OPTIONS means the server as a whole.
    const whole = path === '/' && match[3] === undefined && query === '' && this.list[0]?.[1] === 'OPTIONS';
    this.list[3] = [':path', whole ? '*' : path + query];
    return authority;
  }

  #framing(): HttpFault | undefined {
    const { contentLength, chunked, expect, upgrade } = block;
    const modern = this.minorVersion === 1;
    if (chunked && !modern) return fault(400, 'Transfer-Encoding in HTTP/1.0');
    if (chunked && contentLength !== -1) return fault(400, 'Content-Length beside Transfer-Encoding');
    this.chunked = chunked;
    this.contentLength = contentLength;
    this.keepAlive = modern ? !block.close : block.keepAlive && !block.close;
    this.expectsContinue = false;
    if (expect !== undefined && modern) {
      if (expect !== '100-continue') return fault(417, 'an expectation other than 100-continue');
      this.expectsContinue = chunked || contentLength > 0;
    }
    // An upgrade behind a body would leave open what its bytes are; RFC 9110 section 7.8 lets a server ignore it.
    const upgradable = modern && !chunked && contentLength <= 0;
    this.upgrade = upgradable ? upgrade : undefined;
    if (this.upgrade !== undefined) this.list.splice(4, 0, [':upgrade', this.upgrade]);
    // RFC 9110 section 10.1.1: an expectation of HTTP/1.0 is ignored.
    if (expect !== undefined && !modern) this.list = this.list.filter(([name]) => name !== 'expect');
    return undefined;
  }
}

function isDigit(octet: number): boolean {
  return octet >= 0x30 && octet <= 0x39;
}
