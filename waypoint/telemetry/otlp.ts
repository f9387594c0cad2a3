// Spans as the body of an OTLP/HTTP export in JSON (opentelemetry-proto 1.x, "JSON Protobuf Encoding": ids in hexadecimal,
// 64-bit numbers as text). Pure.

import type { AttributeValue, Span } from './span.ts';

export interface SpanResource {
  /** `service.name`. */
  readonly serviceName: string;
  readonly serviceNamespace: string;
  readonly version: string;
}

const kindServer = 2;
const statusError = 2;

export function formatSpans(spans: readonly Span[], resource: SpanResource): string {
  return JSON.stringify({
    resourceSpans: [
      {
        resource: {
          attributes: attributes([
            ['service.name', resource.serviceName],
            ['service.namespace', resource.serviceNamespace],
            ['service.version', resource.version],
          ]),
        },
        scopeSpans: [{ scope: { name: 'weft', version: resource.version }, spans: spans.map(spanJson) }],
      },
    ],
  });
}

function spanJson(span: Span): object {
  return {
    traceId: span.traceId,
    spanId: span.spanId,
    ...(span.parentSpanId === undefined ? {} : { parentSpanId: span.parentSpanId }),
    name: span.name,
    kind: kindServer,
    startTimeUnixNano: nanoseconds(span.startedAt),
    endTimeUnixNano: nanoseconds(span.startedAt + Math.max(0, span.durationMs)),
    attributes: attributes(span.attributes),
    ...(span.error === undefined ? {} : { status: { code: statusError, message: span.error } }),
  };
}

function attributes(pairs: readonly (readonly [string, AttributeValue])[]): object[] {
  return pairs
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) => ({ key, value: valueJson(value) }));
}

function valueJson(value: AttributeValue): object {
  if (typeof value !== 'number') return { stringValue: value };
  return Number.isInteger(value) ? { intValue: `${value}` } : { doubleValue: value };
}

/** Milliseconds with a fraction, exact to the microsecond. */
function nanoseconds(ms: number): string {
  return `${BigInt(Math.round(ms * 1_000)) * 1_000n}`;
}
