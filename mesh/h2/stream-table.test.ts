import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SessionStream, type StreamPort } from './session-stream.ts';
import { StreamTable } from './stream-table.ts';

function stream(id: number): SessionStream {
  return new SessionStream(
    {} as StreamPort,
    { onData() {}, onEnd() {}, onReset() {}, onWritable() {} },
    {
      id,
      sendWindow: 0,
      receiveWindow: 0,
    },
  );
}

describe('StreamTable', () => {
  it('finds what a Map finds, whatever is added and deleted, also where ids collide', () => {
    // Multiples of 64 fall into one slot while the table is small; 2^31-1 is the highest id there is.
    const id = fc.oneof(
      fc.nat(40),
      fc.nat(20).map((n) => n * 64 + 1),
      fc.constant(2 ** 31 - 1),
    );
    fc.assert(
      fc.property(fc.array(fc.record({ add: fc.boolean(), id }), { maxLength: 300 }), (steps) => {
        const table = new StreamTable();
        const expected = new Map<number, SessionStream>();
        for (const step of steps) {
          if (!step.add) {
            table.delete(step.id);
            expected.delete(step.id);
          } else if (!expected.has(step.id)) {
            const made = stream(step.id);
            table.add(made);
            expected.set(step.id, made);
          }
          expect(table.size).toBe(expected.size);
          expect(table.get(step.id)).toBe(expected.get(step.id));
        }
        for (const [known, made] of expected) expect(table.get(known)).toBe(made);
        expect(table.snapshot()).toEqual([...expected.values()].toSorted((a, b) => a.id - b.id));
      }),
    );
  });
});
