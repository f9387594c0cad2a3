// Builds and parses raw frames for tests, independently of the code under test. Byte layouts from RFC 9113 section 6.

export interface RawFrame {
  readonly type: number;
  readonly flags: number;
  readonly streamId: number;
  readonly payload: Buffer;
}

export const PREFACE = Buffer.from('505249202a20485454502f322e300d0a0d0a534d0d0a0d0a', 'hex');

/** One frame; `length` lies about the payload's length if given. */
export function frame(
  type: number,
  streamId: number,
  options: { readonly flags?: number; readonly payload?: Buffer; readonly length?: number } = {},
): Buffer {
  const payload = options.payload ?? Buffer.alloc(0);
  const head = Buffer.alloc(9);
  head.writeUIntBE(options.length ?? payload.length, 0, 3);
  head[3] = type;
  head[4] = options.flags ?? 0;
  head.writeUInt32BE(streamId, 5);
  return Buffer.concat([head, payload]);
}

/** A header block of literals without indexing and without Huffman, below 127 octets each. */
export function block(fields: readonly (readonly [string, string])[]): Buffer {
  return Buffer.concat(fields.map(([name, value]) => Buffer.concat([Buffer.of(0), text(name), text(value)])));
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value, 'latin1');
  if (bytes.length < 127) return Buffer.concat([Buffer.of(bytes.length), bytes]);
  const length = [0x7f];
  let rest = bytes.length - 127;
  for (; rest >= 128; rest >>= 7) length.push((rest & 127) | 128);
  return Buffer.concat([Buffer.of(...length, rest), bytes]);
}

export const GET = [
  [':method', 'GET'],
  [':scheme', 'http'],
  [':path', '/'],
  [':authority', 'a'],
] as const;

export const POST = [[':method', 'POST'], ...GET.slice(1)] as const;

export const CONNECT = [
  [':method', 'CONNECT'],
  [':authority', '10.0.0.1:80'],
] as const;

const END_STREAM = 1;
const END_HEADERS = 4;

export function headersFrame(
  streamId: number,
  fields: readonly (readonly [string, string])[],
  options: { readonly endStream?: boolean } = {},
): Buffer {
  const flags = END_HEADERS | (options.endStream ? END_STREAM : 0);
  return frame(1, streamId, { flags, payload: block(fields) });
}

export function dataFrame(
  streamId: number,
  payload: Buffer | string,
  options: { readonly endStream?: boolean } = {},
): Buffer {
  return frame(0, streamId, { flags: options.endStream ? END_STREAM : 0, payload: Buffer.from(payload) });
}

export function settingsFrame(entries: readonly (readonly [number, number])[] = []): Buffer {
  const payload = Buffer.alloc(entries.length * 6);
  entries.forEach(([id, value], i) => {
    payload.writeUInt16BE(id, i * 6);
    payload.writeUInt32BE(value, i * 6 + 2);
  });
  return frame(4, 0, { payload });
}

export const settingsAck = frame(4, 0, { flags: 1 });

export function word(value: number): Buffer {
  const payload = Buffer.alloc(4);
  payload.writeUInt32BE(value);
  return payload;
}

export function resetFrame(streamId: number, code = 8): Buffer {
  return frame(3, streamId, { payload: word(code) });
}

export function windowUpdate(streamId: number, increment: number): Buffer {
  return frame(8, streamId, { payload: word(increment) });
}

export function goawayFrame(lastStreamId: number, code: number, debug = ''): Buffer {
  return frame(7, 0, { payload: Buffer.concat([word(lastStreamId), word(code), Buffer.from(debug)]) });
}

/** Cuts `bytes` into frames; throws if the last one is incomplete. */
export function parseFrames(bytes: Buffer): RawFrame[] {
  const frames: RawFrame[] = [];
  let at = 0;
  while (at < bytes.length) {
    const length = bytes.readUIntBE(at, 3);
    const end = at + 9 + length;
    if (end > bytes.length)
      throw new Error(`Parsing frames: the last one is cut at ${bytes.length} of ${end}`);
    frames.push({
      type: bytes[at + 3] as number,
      flags: bytes[at + 4] as number,
      streamId: bytes.readUInt32BE(at + 5) & 0x7fffffff,
      payload: bytes.subarray(at + 9, end),
    });
    at = end;
  }
  return frames;
}
