// The fields of a request as the application gets them: what the client sent, with what only a proxy can say put right.
// X-Forwarded-For always ends with the address the client really has; X-Forwarded-Proto is the client's own word or, without
// one, what it spoke; X-Forwarded-Client-Cert never comes from a client.

import { randomUUID } from 'node:crypto';
import type { Header } from '../../mesh/h2/header.ts';
import type { RequestHead } from '../../mesh/http/message.ts';
import type { IpAddress } from '../../mesh/model/ip-address.ts';
import { hyphenated } from '../../mesh/http/field-names.ts';

export interface ForwardHeaderOptions {
  readonly client: IpAddress;
  readonly requestId: string;
  /** The value of X-Forwarded-Client-Cert; undefined: none is sent. */
  readonly clientCert: string | undefined;
  /** Set in place of what the client sent by these names. */
  readonly extra: readonly Header[] | undefined;
}

/** The header list for the endpoint's stream. */
export function forwardHeaders(head: RequestHead, options: ForwardHeaderOptions): Header[] {
  const { extra } = options;
  const list: Header[] = [
    [':method', head.method],
    [':scheme', head.scheme],
    [':authority', head.authority],
    [':path', head.path],
  ];
  if (head.upgrade !== undefined) list.push([':upgrade', head.upgrade]);
  let before = '';
  let hasProto = false;
  for (const header of head.headers) {
    // The names that matter all begin with x; most do not.
    if (header[0].charCodeAt(0) === 120) {
      const name = hyphenated(header[0]);
      if (name === 'x-forwarded-for') {
        before = before === '' ? header[1] : `${before}, ${header[1]}`;
        continue;
      }
      if (name === 'x-forwarded-proto') hasProto = true;
      if (name === 'x-forwarded-client-cert' || name === 'x-request-id') continue;
    }
    if (extra !== undefined && isNamed(extra, header[0])) continue;
    list.push(header);
  }
  const forwardedFor = before === '' ? options.client : `${before}, ${options.client}`;
  list.push(['x-forwarded-for', forwardedFor], ['x-request-id', options.requestId]);
  if (!hasProto) list.push(['x-forwarded-proto', head.scheme]);
  if (options.clientCert !== undefined) list.push(['x-forwarded-client-cert', options.clientCert]);
  if (extra !== undefined) for (const header of extra) list.push(header);
  return list;
}

/** The client's own id if it has one of sane length, so that one id goes through the whole mesh; else a fresh one. */
export function requestIdOf(headers: readonly Header[]): string {
  for (const [name, value] of headers) {
    if (name === 'x-request-id' && value.length > 0 && value.length <= 128) return value;
  }
  return randomUUID();
}

function isNamed(headers: readonly Header[], name: string): boolean {
  for (const header of headers) if (header[0] === name) return true;
  return false;
}
