// The server name in a TLS ClientHello (RFC 8446 section 4.1.2, RFC 6066 section 3), read from the first bytes of a
// connection that is passed through. Reads, never decides: what is no ClientHello has no name.

export type ServerName =
  | { readonly kind: 'name'; readonly name: string }
  /** No TLS, or no name in it. */
  | { readonly kind: 'none' }
  | { readonly kind: 'need-more' };

/** Larger ones do not exist: a ClientHello with post-quantum keys has under 2 KiB. */
export const maxClientHelloBytes = 16 * 1024 + 5;

const none: ServerName = Object.freeze({ kind: 'none' });
const needMore: ServerName = Object.freeze({ kind: 'need-more' });

const handshakeRecord = 22;
const clientHello = 1;
const serverNameExtension = 0;

/** @param bytes what has come so far, from the first byte */
export function readServerName(bytes: Buffer): ServerName {
  if (bytes.length === 0) return needMore;
  if (bytes[0] !== handshakeRecord) return none;
  const hello = helloBytes(bytes);
  if (hello === undefined) return needMore;
  if (hello.length === 0) return none;
  const name = findName(hello);
  return name === undefined ? none : { kind: 'name', name: name.toLowerCase() };
}

/** The ClientHello's body without record headers; undefined: more is to come; empty: it is none. */
function helloBytes(bytes: Buffer): Buffer | undefined {
  const parts: Buffer[] = [];
  let total = 0;
  let at = 0;
  for (;;) {
    if (bytes.length < at + 5) return undefined;
    if (bytes[at] !== handshakeRecord || bytes[at + 1] !== 3) return Buffer.alloc(0);
    const length = bytes.readUInt16BE(at + 3);
    if (length === 0 || length > 16_384) return Buffer.alloc(0);
    const part = bytes.subarray(at + 5, at + 5 + length);
    parts.push(part);
    total += part.length;
    if (total >= 4) {
      const joined = parts.length === 1 ? part : Buffer.concat(parts);
      if (joined[0] !== clientHello) return Buffer.alloc(0);
      const wanted = 4 + joined.readUIntBE(1, 3);
      if (wanted > maxClientHelloBytes) return Buffer.alloc(0);
      if (total >= wanted) return joined.subarray(4, wanted);
    }
    if (part.length < length) return undefined;
    at += 5 + length;
  }
}

function findName(hello: Buffer): string | undefined {
  // Version and random, then three vectors: session id, cipher suites, compression methods.
  let at = 2 + 32;
  if (at >= hello.length) return undefined;
  at += 1 + (hello[at] as number);
  if (at + 2 > hello.length) return undefined;
  at += 2 + hello.readUInt16BE(at);
  if (at >= hello.length) return undefined;
  at += 1 + (hello[at] as number);
  if (at + 2 > hello.length) return undefined;
  const end = Math.min(hello.length, at + 2 + hello.readUInt16BE(at));
  at += 2;
  while (at + 4 <= end) {
    const type = hello.readUInt16BE(at);
    const length = hello.readUInt16BE(at + 2);
    if (type === serverNameExtension) return nameIn(hello.subarray(at + 4, Math.min(end, at + 4 + length)));
    at += 4 + length;
  }
  return undefined;
}

/** The one host name of the list (RFC 6066: at most one of each type). */
function nameIn(extension: Buffer): string | undefined {
  if (extension.length < 5 || extension[2] !== 0) return undefined;
  const length = extension.readUInt16BE(3);
  if (length === 0 || length > 255 || extension.length < 5 + length) return undefined;
  return extension.toString('latin1', 5, 5 + length);
}
