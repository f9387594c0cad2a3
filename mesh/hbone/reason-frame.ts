// Why a stream was cut or refused, told to the other Weft node: an extension frame just before RST_STREAM, so that the
// client's log can name the policy, and headers of a refusal. A peer that does not know them ignores them (RFC 9113
// section 5.5), so nothing is negotiated.

/** Frame type; in the range no RFC has assigned. Payload: UTF-8 text, at most `maxReasonBytes`. */
export const REASON_FRAME = 0xe7;

/** Header of a 401 to a caller that should have come through the destination's waypoint. */
export const waypointRequired = ['x-weft-waypoint', 'required'] as const;

export const maxReasonBytes = 512;

/** What may be sent as a header value (RFC 9113 section 8.2.1), and what may be logged of what a peer sent. */
export function printableReason(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, '?').slice(0, maxReasonBytes);
}
