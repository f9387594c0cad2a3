// One random byte stream between two sockets, repeatable from its seed: what each side sends in which pieces, where it
// pauses, ends its own direction or resets. Judges what arrived: the sender's bytes in order, and a clean end only where
// the sender ended and everything had come.

import { once } from 'node:events';
import type { Socket } from 'node:net';
import { setImmediate as turn, setTimeout as delay } from 'node:timers/promises';
import { seeded } from '../../runtime/testing/seeded.ts';

/** Where a side breaks its connection instead of ending it. */
type Reset =
  | 'never'
  | 'in-the-middle' // after what it was to send
  | 'after-own-end'; // its own direction has ended, it would still read

export interface SidePlan {
  readonly seed: number;
  readonly bytes: number;
  /** Largest piece that is written at once. */
  readonly piece: number;
  /** Chance of a pause after a piece that was written, and after one that was read. */
  readonly writePauses: number;
  readonly readPauses: number;
  readonly reset: Reset;
}

export interface TransferPlan {
  readonly client: SidePlan;
  readonly server: SidePlan;
}

/** What a side saw of the other one. */
interface Seen {
  readonly bytes: number;
  /** `end` in order, or the code of the error, or `close` for neither. */
  readonly how: string;
  /** The position of the first byte that was not the sender's. */
  readonly wrongAt: number | undefined;
}

/** Around these lie the records, frames, chunks and windows of the data path. */
const edges = [0, 1, 9, 16_384, 32_768, 65_536, 131_072, 262_144, 1_048_576];
const pool = poolOfBytes(1_048_583);

/** At most one side resets: of two it could not be told what the other one had to see. */
export function planTransfer(random: () => number): TransferPlan {
  const breaks = random() < 0.3;
  const resets = random() < 0.5 ? 'client' : 'server';
  const reset = (side: 'client' | 'server'): Reset =>
    !breaks || side !== resets ? 'never' : random() < 0.6 ? 'in-the-middle' : 'after-own-end';
  return { client: planSide(random, reset('client')), server: planSide(random, reset('server')) };
}

function planSide(random: () => number, reset: Reset): SidePlan {
  const edge = edges[Math.floor(random() * edges.length)] ?? 0;
  const bytes =
    random() < 0.4
      ? Math.max(0, edge + Math.floor(random() * 5) - 2)
      : Math.floor(random() ** 3 * 3 * 1_048_576);
  return {
    seed: Math.floor(random() * 2 ** 32),
    bytes,
    // In small pieces only what is soon done.
    piece: 1 + Math.floor(random() ** 3 * 400_000) + Math.floor(bytes / 300),
    writePauses: random() ** 3,
    readPauses: random() < 0.3 ? random() ** 2 * 0.3 : 0,
    reset,
  };
}

/** Runs both sides to their ends; the problems, none when all was as it had to be. `lost`: the way between broke. */
export async function runTransfer(
  plan: TransferPlan,
  sockets: { readonly client: Socket; readonly server: Socket },
  options: { readonly lost?: () => boolean } = {},
): Promise<string[]> {
  const [atServer, atClient] = await Promise.all([
    receive(sockets.server, plan.client, plan.server),
    receive(sockets.client, plan.server, plan.client),
    send(sockets.client, plan.client),
    send(sockets.server, plan.server),
  ]);
  const disturbed =
    options.lost?.() === true || [plan.client, plan.server].some(({ reset }) => reset !== 'never');
  return [
    ...judge('server', atServer, { sender: plan.client, reader: plan.server, disturbed }),
    ...judge('client', atClient, { sender: plan.server, reader: plan.client, disturbed }),
  ];
}

function judge(
  who: string,
  seen: Seen,
  { sender, reader, disturbed }: { sender: SidePlan; reader: SidePlan; disturbed: boolean },
): string[] {
  const problems: string[] = [];
  if (seen.wrongAt !== undefined) problems.push(`byte ${seen.wrongAt} at the ${who} is not what was sent`);
  // Who broke its own connection sees whatever was there before.
  if (reader.reset !== 'never') return problems;
  const complete = seen.bytes === sender.bytes && sender.reset !== 'in-the-middle';
  if (seen.how === 'end' && !complete)
    problems.push(`the ${who} saw a clean end after ${seen.bytes} of ${sender.bytes} bytes, ${sender.reset}`);
  if (!disturbed && (seen.how !== 'end' || !complete))
    problems.push(`the ${who} saw ${seen.how} after ${seen.bytes} of ${sender.bytes} bytes`);
  return problems;
}

async function send(socket: Socket, plan: SidePlan): Promise<void> {
  const random = seeded(plan.seed);
  const start = Math.floor(random() * pool.length);
  for (let at = 0; at < plan.bytes && !socket.destroyed; ) {
    const from = (start + at) % pool.length;
    const wish = 1 + Math.floor(random() * plan.piece);
    const piece = pool.subarray(from, Math.min(from + wish, from + plan.bytes - at, pool.length));
    at += piece.length;
    if (!socket.write(piece)) await untilDrained(socket);
    if (random() < plan.writePauses) await pause(random);
  }
  if (plan.reset === 'in-the-middle') {
    if (random() < 0.7) await pause(random);
    socket.resetAndDestroy();
    return;
  }
  // Awaited: a reset while the shutdown is under way fails inside libuv, and node then keeps the descriptor.
  await new Promise<void>((resolve) => socket.end(resolve));
  if (plan.reset !== 'after-own-end') return;
  await pause(random);
  socket.resetAndDestroy();
}

async function receive(socket: Socket, from: SidePlan, own: SidePlan): Promise<Seen> {
  const start = Math.floor(seeded(from.seed)() * pool.length);
  const random = seeded(own.seed + 1);
  let bytes = 0;
  let wrongAt: number | undefined;
  socket.on('data', (chunk: Buffer) => {
    wrongAt ??= firstDifference(chunk, start + bytes);
    bytes += chunk.length;
    if (random() >= own.readPauses) return;
    socket.pause();
    void pause(random).then(() => socket.resume());
  });
  const how = await new Promise<string>((resolve) => {
    const failed = (error: NodeJS.ErrnoException): void => resolve(error.code ?? error.message);
    if (socket.destroyed) return socket.errored === null ? resolve('close') : failed(socket.errored);
    socket.once('end', () => resolve('end')).once('error', failed);
    // After an error or end this changes nothing.
    socket.once('close', () => resolve('close'));
    socket.resume();
  });
  return { bytes, how, wrongAt };
}

/** Of `chunk` from the stream that is at `position`; undefined when all of it is right. */
function firstDifference(chunk: Buffer, position: number): number | undefined {
  for (let at = 0; at < chunk.length; ) {
    const from = (position + at) % pool.length;
    const length = Math.min(chunk.length - at, pool.length - from);
    if (chunk.compare(pool, from, from + length, at, at + length) !== 0) return position + at;
    at += length;
  }
  return undefined;
}

async function untilDrained(socket: Socket): Promise<void> {
  if (socket.destroyed) return;
  const ended = new AbortController();
  const { signal } = ended;
  const gone = once(socket, 'close', { signal }).catch(() => undefined);
  await Promise.race([once(socket, 'drain', { signal }).catch(() => undefined), gone]);
  ended.abort();
}

async function pause(random: () => number): Promise<void> {
  if (random() < 0.7) await turn();
  else await delay(1 + Math.floor(random() * 4));
}

function poolOfBytes(size: number): Buffer {
  const bytes = Buffer.alloc(size);
  const random = seeded(7);
  for (let i = 0; i < size; i++) bytes[i] = random() * 256;
  return bytes;
}
