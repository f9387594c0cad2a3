// A request and a response head as routing, policies and filters see them: pseudo headers taken apart from the fields.
// Only shapes and the way from the header list of a stream; no bytes.

import type { Header } from '../h2/header.ts';

export interface RequestHead {
  readonly method: string;
  readonly scheme: 'http' | 'https';
  /** Host and optional port as the client wrote them; `''` when an HTTP/1.0 request had none. */
  readonly authority: string;
  /** Path and query as the client wrote them; `*` for OPTIONS *. */
  readonly path: string;
  /** Protocol of an upgrade, lower case; undefined otherwise. */
  readonly upgrade: string | undefined;
  /** Without pseudo headers, names in lower case. */
  readonly headers: readonly Header[];
}

export interface ResponseHead {
  readonly status: number;
  readonly headers: readonly Header[];
}

/** From the header list of a stream, which its connection has checked already. */
export function parseRequestHead(list: readonly Header[]): RequestHead {
  let method = '';
  let scheme = 'http';
  let authority = '';
  let path = '';
  let upgrade: string | undefined;
  let at = 0;
  for (; at < list.length; at++) {
    const [name, value] = list[at] as Header;
    if (name === ':method') method = value;
    else if (name === ':path') path = value;
    else if (name === ':authority') authority = value;
    else if (name === ':scheme') scheme = value;
    else if (name === ':upgrade') upgrade = value;
    else break;
  }
  const headers = at === 0 ? list : list.slice(at);
  return { method, scheme: scheme === 'https' ? 'https' : 'http', authority, path, upgrade, headers };
}

export function parseResponseHead(list: readonly Header[]): ResponseHead {
  const [first] = list;
  return first?.[0] === ':status'
    ? { status: Number(first[1]), headers: list.slice(1) }
    : { status: 0, headers: list };
}
