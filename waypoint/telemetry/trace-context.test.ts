import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Header } from '../../mesh/h2/header.ts';
import { continueTrace, type Sampling } from './trace-context.ts';

const traceId = '4bf92f3577b34da6a3ce929d0e0e4736';
const spanId = '00f067aa0ba902b7';

function sampling(options: { percent?: number; random?: number } = {}): Sampling {
  return {
    percent: options.percent ?? 0,
    random: () => options.random ?? 0.5,
    newId: (bytes) => (bytes === 16 ? 'a'.repeat(32) : 'b'.repeat(16)),
  };
}

const own = 'b'.repeat(16);
const field = (set: readonly Header[], name: string) => set.find(([key]) => key === name)?.[1];

describe('continueTrace()', () => {
  it('goes on with a W3C trace under a span of its own and keeps the decision', () => {
    for (const [flags, sampled] of [
      ['01', true],
      ['00', false],
      ['03', true],
    ] as const) {
      const trace = continueTrace(
        [['traceparent', `00-${traceId}-${spanId}-${flags}`]],
        sampling({ percent: 100 }),
      );
      expect(trace).toMatchObject({ traceId, spanId: own, parentSpanId: spanId, sampled });
      expect(trace.set).toEqual([['traceparent', `00-${traceId}-${own}-${sampled ? '01' : '00'}`]]);
    }
  });

  it('leaves tracestate alone when the trace goes on, and empties it when it does not', () => {
    const state: Header = ['tracestate', 'vendor=1'];
    const good = continueTrace([['traceparent', `00-${traceId}-${spanId}-01`], state], sampling());
    expect(field(good.set, 'tracestate')).toBeUndefined();
    expect(field(continueTrace([['traceparent', 'junk'], state], sampling()).set, 'tracestate')).toBe('');
    expect(field(continueTrace([state], sampling()).set, 'tracestate')).toBe('');
  });

  it.each([
    ['version ff', `ff-${traceId}-${spanId}-01`],
    ['more behind version 00', `00-${traceId}-${spanId}-01-x`],
    ['a trace of zeros', `00-${'0'.repeat(32)}-${spanId}-01`],
    ['a span of zeros', `00-${traceId}-${'0'.repeat(16)}-01`],
    ['upper case', `00-${traceId.toUpperCase()}-${spanId}-01`],
    ['nothing', ''],
  ])('begins a new trace for a traceparent with %s', (_what, value) => {
    const trace = continueTrace([['traceparent', value]], sampling());
    expect(trace).toMatchObject({ traceId: 'a'.repeat(32), parentSpanId: undefined, sampled: false });
  });

  it('takes a later version with more fields, and refuses two traceparents', () => {
    const later = `01-${traceId}-${spanId}-01-more`;
    expect(continueTrace([['traceparent', later]], sampling())).toMatchObject({ traceId, sampled: true });
    const two: Header[] = [
      ['traceparent', `00-${traceId}-${spanId}-01`],
      ['traceparent', `00-${traceId}-${spanId}-01`],
    ];
    expect(continueTrace(two, sampling()).parentSpanId).toBeUndefined();
  });

  it('samples by chance where nobody decided', () => {
    expect(continueTrace([], sampling({ percent: 10, random: 0.099 })).sampled).toBe(true);
    expect(continueTrace([], sampling({ percent: 10, random: 0.1 })).sampled).toBe(false);
    expect(continueTrace([], sampling({ percent: 0, random: 0 })).sampled).toBe(false);
    expect(continueTrace([], sampling({ percent: 100, random: 0.999 })).sampled).toBe(true);
  });

  it('goes on with B3 in one header, and says it in W3C too', () => {
    const trace = continueTrace([['b3', `${traceId}-${spanId}-1-05e3ac9a4f6e3b90`]], sampling());
    expect(trace).toMatchObject({ traceId, parentSpanId: spanId, sampled: true });
    expect(field(trace.set, 'b3')).toBe(`${traceId}-${own}-1-${spanId}`);
    expect(field(trace.set, 'traceparent')).toBe(`00-${traceId}-${own}-01`);
  });

  it('goes on with B3 in several headers, 64-bit trace ids widened', () => {
    const trace = continueTrace(
      [
        ['x-b3-traceid', spanId],
        ['x-b3-spanid', spanId],
        ['x-b3-sampled', '0'],
      ],
      sampling({ percent: 100 }),
    );
    expect(trace).toMatchObject({
      traceId: `${'0'.repeat(16)}${spanId}`,
      parentSpanId: spanId,
      sampled: false,
    });
    expect(field(trace.set, 'x-b3-spanid')).toBe(own);
    expect(field(trace.set, 'x-b3-parentspanid')).toBe(spanId);
    expect(field(trace.set, 'x-b3-sampled')).toBe('0');
  });

  it('keeps a B3 decision that comes without a trace, and debug as sampled', () => {
    expect(continueTrace([['b3', '0']], sampling({ percent: 100 })).sampled).toBe(false);
    expect(continueTrace([['b3', 'd']], sampling()).sampled).toBe(true);
    expect(continueTrace([['x-b3-flags', '1']], sampling()).sampled).toBe(true);
  });

  it('prefers W3C to B3', () => {
    const trace = continueTrace(
      [
        ['b3', `${'c'.repeat(32)}-${'d'.repeat(16)}-0`],
        ['traceparent', `00-${traceId}-${spanId}-01`],
      ],
      sampling(),
    );
    expect(trace).toMatchObject({ traceId, parentSpanId: spanId, sampled: true });
    expect(field(trace.set, 'b3')).toBe(`${traceId}-${own}-1-${spanId}`);
  });

  it('makes well-formed headers of anything', () => {
    const names = [
      'traceparent',
      'tracestate',
      'b3',
      'x-b3-traceid',
      'x-b3-spanid',
      'x-b3-sampled',
      'x-b3-flags',
    ];
    const hex = fc.constantFrom('0', 'a', 'f', '9', '-', 'd', '1', 'g');
    const value = fc.oneof(
      fc.string(),
      fc.array(hex, { maxLength: 60 }).map((digits) => digits.join('')),
      fc.constant(`00-${traceId}-${spanId}-01`),
      fc.constant(spanId),
    );
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.constantFrom(...names), value), { maxLength: 8 }), (headers) => {
        const trace = continueTrace(headers, sampling());
        expect(trace.traceId).toMatch(/^[0-9a-f]{32}$/);
        expect(trace.parentSpanId ?? spanId).toMatch(/^[0-9a-f]{16}$/);
        const again = continueTrace(trace.set, sampling({ percent: trace.sampled ? 0 : 100 }));
        expect(again).toMatchObject({
          traceId: trace.traceId,
          parentSpanId: trace.spanId,
          sampled: trace.sampled,
        });
      }),
    );
  });
});
