// Errors of the HTTP/2 layer, named and numbered as in RFC 9113 section 7.
// An H2Error thrown while bytes are parsed ends the whole connection; errors of one stream are never thrown, they become RST_STREAM.

/** RFC 9113 section 7, the numbers on the wire. */
export const ErrorCode = {
  NO_ERROR: 0x0,
  PROTOCOL_ERROR: 0x1,
  INTERNAL_ERROR: 0x2,
  FLOW_CONTROL_ERROR: 0x3,
  SETTINGS_TIMEOUT: 0x4,
  STREAM_CLOSED: 0x5,
  FRAME_SIZE_ERROR: 0x6,
  REFUSED_STREAM: 0x7,
  CANCEL: 0x8,
  COMPRESSION_ERROR: 0x9,
  CONNECT_ERROR: 0xa,
  ENHANCE_YOUR_CALM: 0xb,
  INADEQUATE_SECURITY: 0xc,
  HTTP_1_1_REQUIRED: 0xd,
} as const;

export type H2ErrorCode = keyof typeof ErrorCode;

const names = Object.keys(ErrorCode) as H2ErrorCode[];

/** The name of an error number; unknown numbers count as INTERNAL_ERROR, as RFC 9113 section 7 allows. */
export function errorName(code: number): H2ErrorCode {
  return names[code] ?? 'INTERNAL_ERROR';
}

/** Why a connection ended. `code` is also the metric label. */
export class H2Error extends Error {
  readonly code: H2ErrorCode;

  constructor(code: H2ErrorCode, message: string) {
    super(message);
    this.name = 'H2Error';
    this.code = code;
  }
}
