// Frame layout of HTTP/2 (RFC 9113 sections 4.1 and 6): constants, and reading and writing of the fixed parts as plain integers.

export const FRAME_HEADER_BYTES = 9;

/** RFC 9113 section 3.4. */
export const CONNECTION_PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'latin1');

/** RFC 9113 section 6.5.2: the range of SETTINGS_MAX_FRAME_SIZE; the lower end is also the initial value. */
export const MIN_MAX_FRAME_SIZE = 16_384;
export const MAX_MAX_FRAME_SIZE = 16_777_215;

/** RFC 9113 sections 5.1.1 and 6.9.1: the largest stream id and the largest window. */
export const MAX_UINT31 = 0x7fffffff;

/** RFC 9113 section 6.9.2: every window starts with this until SETTINGS and WINDOW_UPDATE say otherwise. */
export const DEFAULT_WINDOW = 65_535;

export const FrameType = {
  DATA: 0,
  HEADERS: 1,
  PRIORITY: 2,
  RST_STREAM: 3,
  SETTINGS: 4,
  PUSH_PROMISE: 5,
  PING: 6,
  GOAWAY: 7,
  WINDOW_UPDATE: 8,
  CONTINUATION: 9,
} as const;

export const FrameFlag = {
  ACK: 0x1,
  END_STREAM: 0x1,
  END_HEADERS: 0x4,
  PADDED: 0x8,
  PRIORITY: 0x20,
} as const;

/** Writes the 9 octets before a payload. Positional numbers: once for every frame sent. */
export function writeFrameHeader(
  bytes: Buffer,
  at: number,
  length: number,
  type: number,
  flags: number,
  streamId: number,
): void {
  bytes[at] = length >>> 16;
  bytes[at + 1] = length >>> 8;
  bytes[at + 2] = length;
  bytes[at + 3] = type;
  bytes[at + 4] = flags;
  writeUint32(bytes, at + 5, streamId);
}

export function writeUint32(bytes: Buffer, at: number, value: number): void {
  bytes[at] = value >>> 24;
  bytes[at + 1] = value >>> 16;
  bytes[at + 2] = value >>> 8;
  bytes[at + 3] = value;
}

export function readUint24(bytes: Uint8Array, at: number): number {
  return ((bytes[at] as number) << 16) | ((bytes[at + 1] as number) << 8) | (bytes[at + 2] as number);
}

/** Stream ids, window increments: 31 bits behind a reserved bit that is ignored (RFC 9113 section 4.1). */
export function readUint31(bytes: Uint8Array, at: number): number {
  return (((bytes[at] as number) & 0x7f) << 24) | readUint24(bytes, at + 1);
}

/** Error codes, SETTINGS values: 0 to 2^32-1. */
export function readUint32(bytes: Uint8Array, at: number): number {
  return (((bytes[at] as number) << 24) | readUint24(bytes, at + 1)) >>> 0;
}
