// Why a stream was cut, told to the other Weft node: an extension frame just before RST_STREAM, so that the client's
// log can name the policy. A peer that does not know the type ignores it (RFC 9113 section 5.5), so nothing is negotiated.

/** Frame type; in the range no RFC has assigned. Payload: UTF-8 text, at most `maxReasonBytes`. */
export const REASON_FRAME = 0xe7;

export const maxReasonBytes = 512;

/** What may be sent as a header value (RFC 9113 section 8.2.1), and what may be logged of what a peer sent. */
export function printableReason(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, '?').slice(0, maxReasonBytes);
}
