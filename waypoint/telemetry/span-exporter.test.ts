import { describe, expect, it } from 'vitest';
import { ManualClock } from '../../mesh/runtime/clock.ts';
import { createLogger } from '../../mesh/runtime/logger.ts';
import { makeRequestRecord } from './record.fixture.ts';
import { makeSpan } from './span.ts';
import { SpanExporter } from './span-exporter.ts';
import type { Trace } from './trace-context.ts';

const trace: Trace = {
  set: [],
  traceId: 'a'.repeat(32),
  spanId: 'b'.repeat(16),
  parentSpanId: 'c'.repeat(16),
  sampled: true,
};
const span = makeSpan(makeRequestRecord({ status: 503, flag: 'UF', details: 'refused' }), trace);
const tracing = { endpoint: 'http://collector.example:4318/', samplingPercent: 1 };

interface Post {
  readonly url: string;
  readonly body: { resourceSpans: { scopeSpans: { spans: Record<string, unknown>[] }[] }[] };
}

function start(reply: () => Response) {
  const clock = new ManualClock();
  const posts: Post[] = [];
  const counts = { exported: 0, dropped: 0 };
  let arrived = Promise.withResolvers<void>();
  const fetchLike = (async (url: string, init: RequestInit) => {
    posts.push({ url, body: JSON.parse(init.body as string) });
    arrived.resolve();
    arrived = Promise.withResolvers<void>();
    return reply();
  }) as unknown as typeof fetch;
  const exporter = new SpanExporter({
    resource: { serviceName: 'gate', serviceNamespace: 'shop', version: '1' },
    clock,
    logger: createLogger({ component: 'test', level: 'silent' }),
    fetch: fetchLike,
    onExported: (count) => (counts.exported += count),
    onDropped: (count) => (counts.dropped += count),
  });
  const settled = async () => {
    for (let i = 0; i < 20; i++) await Promise.resolve();
  };
  return { clock, posts, counts, exporter, settled };
}

describe('SpanExporter', () => {
  it('posts spans in one body below the endpoint, as OTLP has them', async () => {
    const { clock, posts, counts, exporter, settled } = start(() => new Response('{}'));
    exporter.configure(tracing);
    exporter.add([span, span]);
    expect(posts).toHaveLength(0);
    clock.advance(1_000);
    await settled();
    expect(posts.map(({ url }) => url)).toEqual(['http://collector.example:4318/v1/traces']);
    const spans = posts[0]?.body.resourceSpans[0]?.scopeSpans[0]?.spans ?? [];
    expect(spans).toHaveLength(2);
    expect(spans[0]).toMatchObject({
      traceId: 'a'.repeat(32),
      spanId: 'b'.repeat(16),
      parentSpanId: 'c'.repeat(16),
      name: 'GET HTTPRoute/shop/api/0',
      kind: 2,
      startTimeUnixNano: '1767323045678000000',
      endTimeUnixNano: '1767323045685400000',
      status: { code: 2, message: 'refused' },
    });
    expect(spans[0]?.['attributes']).toContainEqual({
      key: 'http.response.status_code',
      value: { intValue: '503' },
    });
    expect(spans[0]?.['attributes']).toContainEqual({ key: 'url.path', value: { stringValue: '/items' } });
    expect(counts).toEqual({ exported: 2, dropped: 0 });
    await exporter.close();
  });

  it('drops and counts what is not to be sent anywhere', () => {
    const { posts, counts, exporter } = start(() => new Response());
    exporter.add([span]);
    exporter.configure(tracing);
    exporter.add([span]);
    exporter.configure(undefined);
    expect(counts.dropped).toBe(2);
    expect(posts).toHaveLength(0);
  });

  it('loses what the collector refuses, waits, and goes on', async () => {
    let status = 500;
    const { clock, counts, exporter, settled, posts } = start(() => new Response('', { status }));
    exporter.configure(tracing);
    exporter.add([span]);
    clock.advance(1_000);
    await settled();
    expect(counts).toEqual({ exported: 0, dropped: 1 });
    status = 200;
    exporter.add([span]);
    clock.advance(4_999);
    await settled();
    expect(posts).toHaveLength(1);
    clock.advance(1);
    await settled();
    expect(counts).toEqual({ exported: 1, dropped: 1 });
    await exporter.close();
  });

  it('keeps at most 8,192 spans', () => {
    const { counts, exporter } = start(() => new Response());
    exporter.configure(tracing);
    for (let i = 0; i < 10; i++) exporter.add(Array.from({ length: 1_000 }, () => span));
    expect(counts.dropped).toBe(10_000 - 8_192);
  });

  it('sends what waits before it closes, and takes nothing after', async () => {
    const { posts, counts, exporter } = start(() => new Response());
    exporter.configure(tracing);
    exporter.add([span]);
    await exporter.close();
    expect(posts).toHaveLength(1);
    exporter.add([span]);
    expect(counts).toEqual({ exported: 1, dropped: 1 });
  });
});
