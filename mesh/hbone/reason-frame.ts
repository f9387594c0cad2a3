// Why a stream was cut, told to the other Weft node: an extension frame just before RST_STREAM, so that the client's
// log can name the policy. A peer that does not know the type ignores it (RFC 9113 section 5.5), so nothing is negotiated.

/** Frame type; in the range no RFC has assigned. Payload: UTF-8 text, at most `maxReasonBytes`. */
export const REASON_FRAME = 0xe7;

export const maxReasonBytes = 512;
