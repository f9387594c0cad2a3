import { createHash, randomFillSync } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BufferBudget, BufferShare, ByteQueue } from './byte-queue.ts';
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

  it('lends chunks as long as there is room, whoever asks, and takes them back', () => {
    const whole = new BufferBudget(3 * chunkBytes);
    const share = new BufferShare(whole);
    const queue = new ByteQueue(share);
    expect(queue.fits(chunkBytes)).toBe(true);
    expect(queue.fits(chunkBytes + 1)).toBe(false);
    expect(queue.push(source, 0, chunkBytes)).toBe(true);
    expect([share.used, whole.used]).toEqual([chunkBytes, chunkBytes]);
    queue.clear();
    expect([share.used, whole.used]).toEqual([0, 0]);
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

describe('shares of a buffer budget', () => {
  /** Takes chunks until the share says no; how many it then has. */
  const fill = (share: BufferShare): number => {
    while (share.take() !== undefined);
    return share.used / chunkBytes;
  };

  it('one alone gets half, and the half that is left is for whoever comes', () => {
    const whole = new BufferBudget(120 * chunkBytes);
    const [greedy, late] = [new BufferShare(whole), new BufferShare(whole)];
    expect(fill(greedy)).toBe(60);
    expect(fill(late)).toBe(30);
  });

  it('several that want all they can get end with equal parts, and one more part stays free', () => {
    const whole = new BufferBudget(120 * chunkBytes);
    const shares = [1, 2, 3].map(() => new BufferShare(whole));
    for (let took = true; took; )
      took = shares.map((share) => share.take()).some((chunk) => chunk !== undefined);
    expect(shares.map((share) => share.used / chunkBytes)).toEqual([30, 30, 30]);
    expect(whole.room / chunkBytes).toBe(30);
  });

  it('one that had more than its part gets nothing until it is back in it', () => {
    const whole = new BufferBudget(120 * chunkBytes);
    const [early, late] = [new BufferShare(whole), new BufferShare(whole)];
    expect(early.reserve(60 * chunkBytes)).toBe(true);
    expect(late.reserve(30 * chunkBytes)).toBe(true);
    early.release(10 * chunkBytes);
    expect(early.reserve(1)).toBe(false);
    early.release(10 * chunkBytes);
    expect(early.room).toBe(5 * chunkBytes);
  });

  it('whatever is taken and given back, the parts add up to the whole, and never exceed it', () => {
    const step = fc.record({ share: fc.nat(3), chunks: fc.integer({ min: -4, max: 4 }) });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 300 }), (steps) => {
        const whole = new BufferBudget(20 * chunkBytes);
        const shares = [1, 2, 3, 4].map(() => new BufferShare(whole));
        const held = shares.map((): Slab[] => []);
        for (const { share: index, chunks } of steps) {
          const share = shares[index] as BufferShare;
          const mine = held[index] as Slab[];
          for (let i = chunks; i > 0; i--) {
            const chunk = share.take();
            if (chunk !== undefined) mine.push(chunk);
          }
          for (const chunk of mine.splice(0, Math.max(0, -chunks))) share.give(chunk);
          expect(shares.reduce((total, { used }) => total + used, 0)).toBe(whole.used);
          expect(whole.used).toBeLessThanOrEqual(whole.limit);
        }
        held.forEach((chunks, index) => {
          for (const chunk of chunks) shares[index]?.give(chunk);
        });
        expect(whole.used).toBe(0);
      }),
      { numRuns: 100 },
    );
  });
});
