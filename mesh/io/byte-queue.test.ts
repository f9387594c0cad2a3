import { createHash, randomFillSync } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BufferBudget, ByteQueue } from './byte-queue.ts';
import { Slab } from './slab.ts';
import { FAILED, type TcpStream } from './tcp-stream.ts';

const chunkBytes = 32 * 1024;
const source = new Slab(200_000);
randomFillSync(source.bytes);

/** A stream that takes at most what each call is allowed, and keeps it. */
class Sink {
  readonly got: Buffer[] = [];
  room = 0;
  broken = false;

  write(slab: Slab, offset: number, length: number): number {
    if (this.broken) return FAILED;
    const count = Math.min(length, this.room);
    this.room -= count;
    this.got.push(Buffer.copyBytesFrom(slab.bytes, offset, count));
    return count;
  }

  get stream(): TcpStream {
    return this as unknown as TcpStream;
  }
}

describe('ByteQueue', () => {
  it('gives out what was put in, in order, whatever the sizes, and returns its budget', () => {
    const actions = fc.array(
      fc.oneof(
        fc.record({ push: fc.nat(100_000), at: fc.nat(90_000) }),
        fc.record({ drain: fc.oneof(fc.nat(100), fc.nat(200_000), fc.constant(chunkBytes)) }),
      ),
      { maxLength: 40 },
    );
    fc.assert(
      fc.property(actions, (list) => {
        const budget = new BufferBudget(100 * chunkBytes);
        const queue = new ByteQueue(budget);
        const sink = new Sink();
        const pushed: Buffer[] = [];
        let drained = 0;
        for (const action of list) {
          if ('push' in action) {
            const before = queue.size;
            const whole = queue.push(source, action.at, action.push);
            const took = queue.size - before;
            expect(whole).toBe(took === action.push);
            pushed.push(source.bytes.subarray(action.at, action.at + took));
            if (!whole) expect(budget.used).toBe(budget.limit);
          } else {
            sink.room = action.drain;
            const expected = Math.min(action.drain, queue.size);
            expect(queue.drainTo(sink.stream)).toBe(expected);
            drained += expected;
          }
          expect(budget.used).toBeLessThanOrEqual(budget.limit);
          expect(budget.used).toBeGreaterThanOrEqual(queue.size);
          // A queue wastes less than a chunk at either end.
          expect(budget.used).toBeLessThan(queue.size + 2 * chunkBytes);
        }
        sink.room = Number.MAX_SAFE_INTEGER;
        drained += queue.drainTo(sink.stream);
        expect(queue.size).toBe(0);
        expect(budget.used).toBe(0);
        expect(drained).toBe(pushed.reduce((sum, part) => sum + part.length, 0));
        expect(sha(sink.got)).toBe(sha(pushed));
      }),
      { numRuns: 100 },
    );
  });

  it('refuses when the budget of all queues is spent, and takes again when another one gives back', () => {
    const budget = new BufferBudget(2 * chunkBytes);
    const first = new ByteQueue(budget);
    const second = new ByteQueue(budget);
    expect(first.push(source, 0, chunkBytes + 1)).toBe(true);
    expect(second.push(source, 0, 1)).toBe(false);
    expect(second.size).toBe(0);
    first.clear();
    expect(budget.used).toBe(0);
    expect(second.push(source, 0, 1)).toBe(true);
  });

  it('says FAILED when the stream broke, and clear() still returns everything', () => {
    const budget = new BufferBudget(4 * chunkBytes);
    const queue = new ByteQueue(budget);
    const sink = new Sink();
    queue.push(source, 0, 3 * chunkBytes);
    sink.broken = true;
    expect(queue.drainTo(sink.stream)).toBe(FAILED);
    queue.clear();
    expect(budget.used).toBe(0);
    expect(queue.size).toBe(0);
  });

  it('works after clear() as a new one', () => {
    const budget = new BufferBudget(4 * chunkBytes);
    const queue = new ByteQueue(budget);
    const sink = new Sink();
    queue.push(source, 0, 50_000);
    queue.clear();
    queue.push(source, 7, 40_000);
    sink.room = 40_000;
    expect(queue.drainTo(sink.stream)).toBe(40_000);
    expect(sha(sink.got)).toBe(sha([source.bytes.subarray(7, 40_007)]));
  });
});

function sha(parts: readonly Buffer[]): string {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest('hex');
}
