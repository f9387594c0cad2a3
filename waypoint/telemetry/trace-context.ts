// Trace headers of a request: read, continued with a span of the waypoint's own, and written for the application. W3C
// Trace Context (traceparent, tracestate) and B3 (one header, or several). Pure: headers in, headers to set out. A caller's
// decision to sample is kept; whoever made none is sampled by chance.

import type { Header } from '../../mesh/h2/header.ts';

export interface Sampling {
  /** Of requests without a decision; 0 to 100. */
  readonly percent: number;
  /** In [0, 1). */
  readonly random: () => number;
  /** Lower-case hexadecimal of that many random bytes, not all zero. */
  readonly newId: (bytes: 8 | 16) => string;
}

export interface Trace {
  /** Replace fields of the same name; a name in `tracestate` with `''` takes the field's meaning away. */
  readonly set: readonly Header[];
  /** 32 hexadecimal digits. */
  readonly traceId: string;
  /** Of the waypoint; 16 hexadecimal digits. */
  readonly spanId: string;
  /** Of the caller; undefined if the trace begins here. */
  readonly parentSpanId: string | undefined;
  readonly sampled: boolean;
}

/** What the caller said. */
interface Incoming {
  readonly traceId: string;
  readonly spanId: string;
  /** Undefined: left to us. */
  readonly sampled: boolean | undefined;
}

interface TraceFields {
  traceparent: string | undefined;
  /** Given more than once: it means nothing then (Trace Context section 4.3). */
  repeated: boolean;
  tracestate: boolean;
  b3: string | undefined;
  b3TraceId: string | undefined;
  b3SpanId: string | undefined;
  b3Sampled: string | undefined;
  b3Flags: string | undefined;
}

/** version-traceid-parentid-flags (Trace Context section 3.2); later versions may append more. */
const traceparentPattern = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/;
const b3Pattern = /^([0-9a-f]{32}|[0-9a-f]{16})-([0-9a-f]{16})(?:-([01d]))?(?:-[0-9a-f]{16})?$/;
const longTraceId = /^(?:[0-9a-f]{32}|[0-9a-f]{16})$/;
const spanIdPattern = /^[0-9a-f]{16}$/;
const zeros = /^0+$/;

/** Continues the caller's trace, or begins one. Never throws, whatever the headers say. */
export function continueTrace(headers: readonly Header[], sampling: Sampling): Trace {
  const fields = readFields(headers);
  const fromW3c = parseTraceparent(fields);
  const fromB3 = fromW3c === undefined ? parseB3(fields) : undefined;
  const incoming = fromW3c ?? fromB3;
  const decided = incoming?.sampled ?? b3Decision(fields);
  const sampled = decided ?? sampling.random() * 100 < sampling.percent;
  const traceId = incoming?.traceId ?? sampling.newId(16);
  const spanId = sampling.newId(8);
  const parentSpanId = incoming?.spanId;
  const set: Header[] = [['traceparent', `00-${traceId}-${spanId}-${sampled ? '01' : '00'}`]];
  // The vendors' state belongs to the trace that is not continued.
  if (fields.tracestate && fromW3c === undefined) set.push(['tracestate', '']);
  addB3(set, fields, { traceId, spanId, parentSpanId, sampled });
  return { set, traceId, spanId, parentSpanId, sampled };
}

function readFields(headers: readonly Header[]): TraceFields {
  const fields: TraceFields = {
    traceparent: undefined,
    repeated: false,
    tracestate: false,
    b3: undefined,
    b3TraceId: undefined,
    b3SpanId: undefined,
    b3Sampled: undefined,
    b3Flags: undefined,
  };
  for (const [name, value] of headers) {
    switch (name) {
      case 'traceparent':
        fields.repeated = fields.traceparent !== undefined;
        fields.traceparent = value;
        break;
      case 'tracestate':
        fields.tracestate = true;
        break;
      case 'b3':
        fields.b3 = value.toLowerCase();
        break;
      case 'x-b3-traceid':
        fields.b3TraceId = value.toLowerCase();
        break;
      case 'x-b3-spanid':
        fields.b3SpanId = value.toLowerCase();
        break;
      case 'x-b3-sampled':
        fields.b3Sampled = value.toLowerCase();
        break;
      case 'x-b3-flags':
        fields.b3Flags = value;
        break;
    }
  }
  return fields;
}

function parseTraceparent({ traceparent, repeated }: TraceFields): Incoming | undefined {
  if (traceparent === undefined || repeated) return undefined;
  const [, version, traceId = '', spanId = '', flags = '', rest] = traceparentPattern.exec(traceparent) ?? [];
  if (version === undefined || version === 'ff' || (version === '00' && rest !== undefined)) return undefined;
  if (zeros.test(traceId) || zeros.test(spanId)) return undefined;
  return { traceId, spanId, sampled: (Number.parseInt(flags, 16) & 1) === 1 };
}

/** The one header before the several (b3-propagation, "single header"). */
function parseB3(fields: TraceFields): Incoming | undefined {
  const single = fields.b3 === undefined ? null : b3Pattern.exec(fields.b3);
  const [traceId = '', spanId = ''] = single
    ? [single[1], single[2]]
    : [fields.b3TraceId ?? '', fields.b3SpanId ?? ''];
  if (!longTraceId.test(traceId) || !spanIdPattern.test(spanId)) return undefined;
  if (zeros.test(traceId) || zeros.test(spanId)) return undefined;
  return { traceId: traceId.padStart(32, '0'), spanId, sampled: b3Decision(fields) };
}

/** Also of headers that carry a decision and no trace. Debug means sampled. */
function b3Decision({ b3, b3Sampled, b3Flags }: TraceFields): boolean | undefined {
  const single = b3 === undefined ? undefined : /^[01d]$/.test(b3) ? b3 : b3Pattern.exec(b3)?.[3];
  if (single !== undefined) return single !== '0';
  if (b3Flags === '1') return true;
  if (b3Sampled === '1' || b3Sampled === 'true') return true;
  if (b3Sampled === '0' || b3Sampled === 'false') return false;
  return undefined;
}

/** In the forms that came, so that an application that knows only B3 goes on with the same trace. */
function addB3(
  set: Header[],
  fields: TraceFields,
  { traceId, spanId, parentSpanId, sampled }: Omit<Trace, 'set'>,
): void {
  const decision = sampled ? '1' : '0';
  if (fields.b3 !== undefined) {
    const parent = parentSpanId === undefined ? '' : `-${parentSpanId}`;
    set.push(['b3', `${traceId}-${spanId}-${decision}${parent}`]);
  }
  if (fields.b3TraceId === undefined) return;
  set.push(['x-b3-traceid', traceId], ['x-b3-spanid', spanId]);
  if (parentSpanId !== undefined) set.push(['x-b3-parentspanid', parentSpanId]);
  // Debug stays as it came: it says sampled by itself.
  if (fields.b3Flags !== '1') set.push(['x-b3-sampled', decision]);
}
