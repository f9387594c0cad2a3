// The messages of an external authorization service over gRPC (envoy.service.auth.v3, the part a proxy needs): a
// CheckRequest is written, a CheckResponse read. Strings hold one octet a character here and are UTF-8 on the wire.

import { BinaryReader, BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import type { Header } from '../../../mesh/h2/header.ts';

export interface CheckRequest {
  readonly source: Peer;
  readonly destination: Peer;
  readonly request: {
    readonly id: string;
    readonly method: string;
    readonly path: string;
    readonly host: string;
    readonly scheme: string;
    readonly protocol: string;
    /** -1 if unknown. */
    readonly size: number;
    readonly headers: readonly Header[];
    readonly body: Uint8Array | undefined;
  };
}

export interface Peer {
  readonly address: string;
  readonly port: number;
  /** SPIFFE id; `''` if none. */
  readonly principal: string;
}

export interface CheckResponse {
  readonly allowed: boolean;
  /** Denied: what to answer. */
  readonly status: number;
  readonly body: string;
  /** Denied: on the answer; allowed: set on the request. */
  readonly headers: readonly Header[];
  readonly removeHeaders: readonly string[];
  /** Allowed: added to the response. */
  readonly responseHeaders: readonly Header[];
}

const prefixBytes = 5;

/** With the gRPC message prefix. */
export function encodeCheck(check: CheckRequest): Buffer {
  const writer = new BinaryWriter();
  nested(writer, 1, () => {
    nested(writer, 1, () => writePeer(writer, check.source));
    nested(writer, 2, () => writePeer(writer, check.destination));
    nested(writer, 4, () => nested(writer, 2, () => writeHttp(writer, check.request)));
  });
  const message = writer.finish();
  const framed = Buffer.alloc(prefixBytes + message.length);
  framed.writeUInt32BE(message.length, 1);
  framed.set(message, prefixBytes);
  return framed;
}

/** Undefined for what is no whole message. */
export function decodeCheckResponse(framed: Buffer): CheckResponse | undefined {
  if (framed.length < prefixBytes || framed[0] !== 0) return undefined;
  const length = framed.readUInt32BE(1);
  if (framed.length !== prefixBytes + length) return undefined;
  try {
    return readResponse(framed.subarray(prefixBytes));
  } catch {
    return undefined;
  }
}

function writePeer(writer: BinaryWriter, { address, port, principal }: Peer): void {
  // Address.socket_address: address 2, port_value 3.
  nested(writer, 1, () =>
    nested(writer, 1, () => {
      text(writer, 2, address);
      writer.tag(3, WireType.Varint).uint32(port);
    }),
  );
  text(writer, 4, principal);
}

function writeHttp(writer: BinaryWriter, request: CheckRequest['request']): void {
  text(writer, 1, request.id);
  text(writer, 2, request.method);
  for (const [name, value] of merged(request.headers)) {
    nested(writer, 3, () => {
      text(writer, 1, name);
      text(writer, 2, value);
    });
  }
  text(writer, 4, request.path);
  text(writer, 5, request.host);
  text(writer, 6, request.scheme);
  writer.tag(9, WireType.Varint).int64(request.size);
  text(writer, 10, request.protocol);
  if (request.body !== undefined) writer.tag(12, WireType.LengthDelimited).bytes(request.body);
}

/** Fields of one name are one entry (RFC 9110 section 5.3). */
function merged(headers: readonly Header[]): Map<string, string> {
  const all = new Map<string, string>();
  for (const [name, value] of headers) {
    const known = all.get(name);
    all.set(name, known === undefined ? value : `${known}${name === 'cookie' ? '; ' : ','}${value}`);
  }
  return all;
}

function nested(writer: BinaryWriter, field: number, write: () => void): void {
  writer.tag(field, WireType.LengthDelimited).fork();
  write();
  writer.join();
}

function text(writer: BinaryWriter, field: number, value: string): void {
  if (value !== '') writer.tag(field, WireType.LengthDelimited).bytes(Buffer.from(value, 'latin1'));
}

function readResponse(bytes: Uint8Array): CheckResponse {
  let code = 0;
  let denied: Message | undefined;
  let ok: Message | undefined;
  for (const [field, value] of fields(bytes)) {
    if (typeof value === 'number') continue;
    if (field === 1) code = numberIn(value, 1) ?? 0;
    else if (field === 2) denied = value;
    else if (field === 3) ok = value;
  }
  if (code === 0)
    return {
      allowed: true,
      status: 200,
      body: '',
      headers: ok === undefined ? [] : headersIn(ok, 2),
      removeHeaders: ok === undefined ? [] : textsIn(ok, 5).map((name) => name.toLowerCase()),
      responseHeaders: ok === undefined ? [] : headersIn(ok, 6),
    };
  const status = denied === undefined ? undefined : messageIn(denied, 1);
  return {
    allowed: false,
    status: (status === undefined ? undefined : numberIn(status, 1)) ?? 403,
    body: denied === undefined ? '' : (textsIn(denied, 3)[0] ?? ''),
    headers: denied === undefined ? [] : headersIn(denied, 2),
    removeHeaders: [],
    responseHeaders: [],
  };
}

type Message = Uint8Array;

function* fields(bytes: Message): Generator<readonly [field: number, value: number | Message]> {
  const reader = new BinaryReader(bytes);
  while (reader.pos < reader.len) {
    const [field, type] = reader.tag();
    if (type === WireType.Varint) yield [field, Number(reader.int64())];
    else if (type === WireType.LengthDelimited) yield [field, reader.bytes()];
    else reader.skip(type, field);
  }
}

function numberIn(message: Message, wanted: number): number | undefined {
  for (const [field, value] of fields(message))
    if (field === wanted && typeof value === 'number') return value;
  return undefined;
}

function messageIn(message: Message, wanted: number): Message | undefined {
  for (const [field, value] of fields(message))
    if (field === wanted && typeof value !== 'number') return value;
  return undefined;
}

function textsIn(message: Message, wanted: number): string[] {
  const texts: string[] = [];
  for (const [field, value] of fields(message))
    if (field === wanted && typeof value !== 'number') texts.push(Buffer.from(value).toString('latin1'));
  return texts;
}

/** HeaderValueOption.header: key 1, value 2, raw_value 3. */
function headersIn(message: Message, wanted: number): Header[] {
  const headers: Header[] = [];
  for (const [field, value] of fields(message)) {
    if (field !== wanted || typeof value === 'number') continue;
    const header = messageIn(value, 1);
    const name = header === undefined ? undefined : textsIn(header, 1)[0]?.toLowerCase();
    if (header === undefined || name === undefined || !isName(name)) continue;
    const content = textsIn(header, 2)[0] ?? textsIn(header, 3)[0] ?? '';
    if (!/[\0\r\n]/.test(content)) headers.push([name, content.trim()]);
  }
  return headers;
}

/** RFC 9110 section 5.1; and no pseudo header. */
function isName(name: string): boolean {
  return /^[!#$%&'*+\-.^_`|~0-9a-z]+$/.test(name);
}
