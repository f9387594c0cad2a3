// Connections whose peers and owners do anything at any time: whatever comes, each stream is told its end once, the
// connection is over once, and all memory is given back.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ClientWorld } from './testing/client-world.ts';
import type { FakeTransport } from './testing/fake-transport.ts';
import type { RecordedStream } from './testing/recorded-stream.ts';
import { ServerWorld } from './testing/server-world.ts';

const requests = [
  'GET / HTTP/1.1\r\nHost: a\r\n\r\n',
  'GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n',
  'GET / HTTP/1.0\r\n\r\n',
  'HEAD / HTTP/1.1\r\nHost: a\r\n\r\n',
  'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello',
  'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n',
  'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n',
  '5\r\nhello\r\n',
  '0\r\n\r\n',
  '0\r\nX: y\r\n\r\n',
  'GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n',
  'GET / HTTP/1.1\r\n',
  'hello',
];
const responses = [
  'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello',
  'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n',
  'HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n',
  'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n',
  '0\r\n\r\n',
  'HTTP/1.1 200 OK\r\n\r\n',
  'HTTP/1.1 100 Continue\r\n\r\n',
  'HTTP/1.1 204 No\r\n\r\n',
  'HTTP/1.1 101 Go\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n',
  'HTTP/1.1 2',
  'hello',
];

type Step =
  | { readonly do: 'send'; readonly octets: string; readonly size: number }
  | { readonly do: 'own'; readonly what: string }
  | { readonly do: 'room'; readonly octets: number }
  | { readonly do: 'pass'; readonly ms: number }
  | { readonly do: 'end' | 'close' | 'drain' | 'destroy' | 'request' };

const owned = [
  'respond',
  'respond-end',
  'respond-length',
  'inform',
  'upgrade',
  'write',
  'write-end',
  'end',
  'trailers',
  'consume',
  'reset',
  'cancel',
];

function steps(octets: readonly string[]): fc.Arbitrary<Step[]> {
  const send = fc.record({
    do: fc.constant('send' as const),
    octets: fc.constantFrom(...octets),
    size: fc.integer({ min: 1, max: 60 }),
  });
  return fc.array(
    fc.oneof(
      { weight: 8, arbitrary: send },
      {
        weight: 10,
        arbitrary: fc.record({ do: fc.constant('own' as const), what: fc.constantFrom(...owned) }),
      },
      { weight: 3, arbitrary: fc.record({ do: fc.constant('request' as const) }) },
      { weight: 2, arbitrary: fc.record({ do: fc.constant('room' as const), octets: fc.nat(200) }) },
      {
        weight: 1,
        arbitrary: fc.record({ do: fc.constant('pass' as const), ms: fc.constantFrom(1, 5_000, 400_000) }),
      },
      {
        weight: 1,
        arbitrary: fc.record({ do: fc.constantFrom('end' as const, 'close', 'drain', 'destroy') }),
      },
    ),
    { maxLength: 25 },
  );
}

/** Streams that their owner reset: they are told nothing more. */
const reset = new WeakSet<RecordedStream>();

function expectTold(recorded: RecordedStream): void {
  if (reset.has(recorded)) return;
  expect(recorded.events.some((event) => event === 'end' || event.startsWith('reset'))).toBe(true);
}

/** Owners act from inside of what they are told, too. */
const inside = fc.array(fc.constantFrom('nothing', ...owned), { maxLength: 12 });

function actInside(recorded: RecordedStream, actions: string[]): void {
  recorded.onEvent = () => act(recorded, actions.shift() ?? 'nothing');
}

/** Does to the stream what is allowed in its state; misuse throws, and is the owner's mistake. */
function act(recorded: RecordedStream | undefined, what: string): void {
  if (recorded === undefined) return;
  const { stream } = recorded;
  if (stream === undefined || what === 'nothing') return;
  if (what === 'reset' || what === 'cancel') reset.add(recorded);
  try {
    if (what === 'respond') stream.respond([[':status', '200']], false);
    else if (what === 'respond-end') stream.respond([[':status', '404']], true);
    else if (what === 'respond-length')
      stream.respond(
        [
          [':status', '200'],
          ['content-length', '5'],
        ],
        false,
      );
    else if (what === 'inform') stream.respond([[':status', '100']], false);
    else if (what === 'upgrade')
      stream.respond(
        [
          [':status', '101'],
          [':upgrade', 'x'],
        ],
        false,
      );
    else if (what === 'write' || what === 'write-end') {
      if (stream.sendAllowance() >= 5) recorded.write('world', what === 'write-end');
    } else if (what === 'end') stream.endData();
    else if (what === 'trailers') stream.trailers([['x', 'y']]);
    else if (what === 'consume') stream.consume(3);
    else if (what === 'reset') stream.reset(0);
    else stream.reset(8);
  } catch (error) {
    if (!(error instanceof Error) || !/in state|left of content-length/.test(error.message)) throw error;
  }
}

interface World {
  readonly transport: FakeTransport;
  readonly connection: { drain(): void; destroy(): void };
  readonly loop: { pass(ms: number): void; endTurn(): void };
  readonly budget: { used: number };
}

function take(world: World, step: Step, newest: () => RecordedStream | undefined): void {
  const { transport } = world;
  const over = transport.state === 'destroyed' || transport.state === 'closed';
  if (step.do === 'send') {
    for (let at = 0; at < step.octets.length && !transport.paused; at += step.size) {
      if (transport.state === 'destroyed' || transport.state === 'closed') return;
      transport.send(step.octets.slice(at, at + step.size));
    }
  } else if (step.do === 'own') act(newest(), step.what);
  else if (step.do === 'room' && !over) transport.makeRoom(step.octets);
  else if (step.do === 'pass') world.loop.pass(step.ms);
  else if (step.do === 'end' && !over) transport.sendEnd();
  else if (step.do === 'close' && !over) transport.close('broken');
  else if (step.do === 'drain') world.connection.drain();
  else if (step.do === 'destroy') world.connection.destroy();
  world.loop.endTurn();
}

describe('an HTTP/1.1 connection', () => {
  it('that serves ends every request once and gives everything back', () => {
    fc.assert(
      fc.property(
        steps(requests),
        fc.constantFrom(50, 1000),
        fc.boolean(),
        inside,
        (all, room, consumes, actions) => {
          const world = new ServerWorld({ bodyWindow: 8, maxDiscardBytes: 20, maxHeldBytes: 300 });
          world.transport.roomLeft = room;
          const left = [...actions];
          world.answer = (recorded) => {
            recorded.consumes = consumes;
            actInside(recorded, left);
            act(recorded, left.shift() ?? 'nothing');
            return recorded;
          };
          for (const step of all) take(world, step, () => world.requests.at(-1)?.stream);
          world.connection.destroy();
          world.loop.endTurn();
          expect([world.closed !== undefined, world.budget.used, world.connection.openStreams]).toEqual([
            true,
            0,
            0,
          ]);
          for (const { stream } of world.requests) {
            expectTold(stream);
            act(stream, 'write');
          }
        },
      ),
      { numRuns: 1500 },
    );
  });

  it('that asks ends every request once, reads no response twice and gives everything back', () => {
    fc.assert(
      fc.property(
        steps(responses),
        fc.constantFrom(60, 1000),
        fc.boolean(),
        inside,
        (all, room, consumes, actions) => {
          const world = new ClientWorld({ bodyWindow: 8, maxInformational: 2 });
          world.transport.roomLeft = room;
          const made: RecordedStream[] = [];
          const left = [...actions];
          let number = 0;
          for (const step of all) {
            if (step.do === 'request' && world.connection.canOpen) {
              const kind = number++ % 3;
              const stream =
                kind === 0
                  ? world.request('GET')
                  : world.request('POST', {
                      endStream: false,
                      fields: kind === 1 ? [] : [[':upgrade', 'x']],
                    });
              stream.consumes = consumes;
              actInside(stream, left);
              made.push(stream);
            }
            take(world, step, () => made.at(-1));
          }
          world.connection.destroy();
          world.loop.endTurn();
          expect([
            world.events.filter((event) => event !== 'available').length,
            world.budget.used,
            world.connection.canOpen,
          ]).toEqual([2, 0, false]);
          for (const stream of made) {
            expectTold(stream);
            const heads = stream.events.filter((event) => /^headers :status=(?!100)/.test(event));
            expect(heads.length).toBeLessThanOrEqual(1);
          }
        },
      ),
      { numRuns: 1500 },
    );
  });
});
