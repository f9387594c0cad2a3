import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { HttpStream } from '../../mesh/http/stream.ts';
import { BufferBudget } from '../../mesh/io/byte-queue.ts';
import { Slab } from '../../mesh/io/slab.ts';
import { BodyPipe, maxKeptBytes } from './body-pipe.ts';

/** A destination that takes what it is told to take. */
class FakeTarget {
  taken = Buffer.alloc(0);
  allowance = 0;
  ended = false;
  sendAllowance(): number {
    return this.allowance;
  }
  writeData(slab: Slab, offset: number, length: number, endStream: boolean): void {
    if (length > this.allowance || endStream || offset < 9) throw new Error('Not allowed');
    this.allowance -= length;
    this.taken = Buffer.concat([this.taken, slab.bytes.subarray(offset, offset + length)]);
    // The header of a frame goes where nothing of the body may be wanted any more.
    slab.bytes.fill(0xee, offset - 9, offset);
  }
  endData(): void {
    this.ended = true;
  }
}

class FakeSource {
  credit = 0;
  consume(bytes: number): void {
    this.credit += bytes;
  }
}

const asStream = (fake: FakeTarget | FakeSource): HttpStream => fake as unknown as HttpStream;

function feed(pipe: BodyPipe, bytes: Buffer, headRoom: number): void {
  const slab = new Slab(headRoom + bytes.length);
  bytes.copy(slab.bytes, headRoom);
  pipe.data(slab, headRoom, bytes.length);
}

describe('BodyPipe', () => {
  it('passes every byte on in order, gives credit for what was passed on only, and ends after the last', () => {
    const step = fc.oneof(
      fc.record({ data: fc.nat({ max: 40_000 }), room: fc.constant(0), head: fc.constantFrom(0, 9, 16) }),
      fc.record({ data: fc.constant(0), room: fc.nat({ max: 50_000 }), head: fc.constant(0) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), fc.nat({ max: 10 }), (steps, connectAt) => {
        const budget = new BufferBudget(64 * 1024 * 1024);
        const [source, target] = [new FakeSource(), new FakeTarget()];
        const pipe = new BodyPipe(budget, asStream(source));
        const sent: Buffer[] = [];
        for (const [i, { data, room, head }] of steps.entries()) {
          if (i === connectAt) pipe.target = asStream(target);
          target.allowance += room;
          if (data === 0) pipe.drain();
          else {
            const bytes = Buffer.from(Array.from({ length: data }, (_, at) => (at * 7 + i) & 255));
            sent.push(bytes);
            feed(pipe, bytes, head);
          }
          expect(source.credit).toBe(target.taken.length);
        }
        pipe.end();
        pipe.target = asStream(target);
        target.allowance = Number.MAX_SAFE_INTEGER;
        pipe.drain();
        expect(target.taken.equals(Buffer.concat(sent))).toBe(true);
        expect([target.ended, pipe.finished, source.credit]).toEqual([true, true, target.taken.length]);
        pipe.clear();
        expect(budget.used).toBe(0);
      }),
    );
  });

  it('sends everything again to another destination, without credit for what had some', () => {
    fc.assert(
      fc.property(fc.nat({ max: 20_000 }), fc.nat({ max: 30_000 }), (before, room) => {
        const budget = new BufferBudget(64 * 1024 * 1024);
        const [source, first, second] = [new FakeSource(), new FakeTarget(), new FakeTarget()];
        const pipe = new BodyPipe(budget, asStream(source));
        pipe.keep();
        const body = Buffer.from(Array.from({ length: before + 5_000 }, (_, at) => at & 255));
        first.allowance = room;
        pipe.target = asStream(first);
        if (before > 0) feed(pipe, body.subarray(0, before), 16);
        expect(pipe.replayable).toBe(true);
        pipe.restart();
        feed(pipe, body.subarray(before), 16);
        pipe.end();
        second.allowance = Number.MAX_SAFE_INTEGER;
        pipe.target = asStream(second);
        expect(second.taken.equals(body)).toBe(true);
        expect([second.ended, source.credit]).toEqual([true, body.length]);
        pipe.clear();
        expect(budget.used).toBe(0);
      }),
    );
  });

  it('can not be sent again once more came than is kept', () => {
    const budget = new BufferBudget(64 * 1024 * 1024);
    const target = new FakeTarget();
    const pipe = new BodyPipe(budget, asStream(new FakeSource()));
    pipe.keep();
    target.allowance = Number.MAX_SAFE_INTEGER;
    pipe.target = asStream(target);
    feed(pipe, Buffer.alloc(maxKeptBytes), 16);
    expect(pipe.replayable).toBe(true);
    feed(pipe, Buffer.alloc(1), 16);
    expect(pipe.replayable).toBe(false);
  });

  it('shows how a body begins, in whatever pieces and before whatever else it came', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1, max: 50_000 }), { minLength: 1, maxLength: 8 }),
        (lengths) => {
          const budget = new BufferBudget(64 * 1024 * 1024);
          const pipe = new BodyPipe(budget, asStream(new FakeSource()));
          pipe.keep();
          const parts = lengths.map((length, i) => Buffer.alloc(length, 65 + i));
          for (const part of parts) feed(pipe, part, 16);
          expect(pipe.kept().equals(Buffer.concat(parts).subarray(0, maxKeptBytes))).toBe(true);
          pipe.clear();
          expect(budget.used).toBe(0);
        },
      ),
    );
  });

  it('counts what it keeps, and keeps a body of single octets in not much more than its size', () => {
    const budget = new BufferBudget(64 * 1024 * 1024);
    const target = new FakeTarget();
    target.allowance = Number.MAX_SAFE_INTEGER;
    target.writeData = () => {};
    const pipe = new BodyPipe(budget, asStream(new FakeSource()));
    pipe.keep();
    pipe.target = asStream(target);
    const slab = new Slab(100);
    for (let i = 0; i < 20_000; i++) pipe.data(slab, 16, 1);
    expect(pipe.replayable).toBe(true);
    expect(budget.used).toBeGreaterThanOrEqual(20_000);
    expect(budget.used).toBeLessThanOrEqual(maxKeptBytes);
    pipe.forgetKept();
    expect(budget.used).toBe(0);
  });

  it('keeps nothing to send it again when the budget is spent, but gives up what is not decided yet', () => {
    const target = new FakeTarget();
    target.allowance = Number.MAX_SAFE_INTEGER;
    const sent = new BodyPipe(new BufferBudget(1_000), asStream(new FakeSource()));
    sent.keep();
    sent.target = asStream(target);
    const slab = new Slab(100_000);
    expect([sent.data(slab, 16, 30_000), sent.replayable]).toEqual([true, false]);
    const undecided = new BodyPipe(new BufferBudget(1_000), asStream(new FakeSource()));
    undecided.keep();
    expect(undecided.data(slab, 16, 30_000)).toBe(false);
  });

  it('says when the budget is spent', () => {
    const pipe = new BodyPipe(new BufferBudget(32 * 1024), asStream(new FakeSource()));
    const slab = new Slab(100_000);
    expect([pipe.data(slab, 16, 30_000), pipe.data(slab, 16, 30_000)]).toEqual([true, false]);
    pipe.clear();
  });
});
