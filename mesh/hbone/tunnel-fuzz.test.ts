// Random transfers through a pair of tunnels, checked byte for byte, and every descriptor, TLS object and ring accounted
// for afterwards. For longer runs see fuzz-run.ts.

import { it, vi } from 'vitest';
import type { CallCounts } from '../io/testing/call-counts.ts';
import { fuzz, fuzzTimeoutMs } from '../io/testing/fuzz-run.ts';
import { openDescriptors } from '../io/testing/leaks.ts';
import { pump, pumpUntil } from '../io/testing/pump.ts';
import { planTransfer, runTransfer } from '../io/testing/random-transfer.ts';
import { seeded } from '../runtime/testing/seeded.ts';
import { type Through, TunnelWorld } from './testing/tunnel-world.ts';

const calls = vi.hoisted(() => ({ counts: undefined as CallCounts | undefined }));
vi.mock(import('../io/openssl.ts'), async (original) => {
  const { CallCounts: Counts } = await import('../io/testing/call-counts.ts');
  calls.counts = new Counts();
  return calls.counts.wrap(await original());
});

const limitMs = 60_000;

it(
  'carries random transfers through tunnels unchanged and gives everything back',
  {
    timeout: fuzzTimeoutMs,
  },
  () => fuzz(runSeed, { seedsInCi: 12 }),
);

async function runSeed(seed: number): Promise<string[]> {
  const random = seeded(seed);
  const before = openDescriptors();
  calls.counts?.reset();
  const world = await TunnelWorld.create();
  const problems: string[] = [];
  let lost = false;
  const open: Through[] = [];
  const transfers: Promise<void>[] = [];
  for (let count = 1 + Math.floor(random() * 10); count > 0; count--) {
    const plan = planTransfer(random);
    const through = await world.through();
    open.push(through);
    const sockets = { client: through.client, server: through.app };
    const judged = runTransfer(plan, sockets, { lost: () => lost });
    transfers.push(judged.then((found) => void problems.push(...found)));
  }
  if (random() < 0.1) {
    lost = true;
    for (const tunnel of world.tunnels) tunnel.destroy();
  }
  await pumpUntil(world.reactor, `the transfers of seed ${seed}`, Promise.all(transfers), limitMs);
  await pump(world.reactor, `the splices of seed ${seed} to end`, () =>
    open.every(({ inbound, outbound }) => inbound.end !== undefined && outbound.end !== undefined),
  );
  await world.close();
  return [...problems, ...world.errors.map(String), ...leaks(before)];
}

function leaks(descriptorsBefore: number): string[] {
  const { counts } = calls;
  if (counts === undefined) return ['OpenSSL was not counted'];
  const pairs: [string, number, number][] = [
    ['descriptors', openDescriptors(), descriptorsBefore],
    ['TLS connections', counts.of('SSL_new'), counts.of('SSL_free')],
    ['TLS contexts', counts.of('SSL_CTX_new'), counts.of('SSL_CTX_free')],
    // Of each pair one half is freed by its SSL; memory BIOs of PEMs are freed as they are made.
    ['rings', counts.of('BIO_new_bio_pair', 'BIO_new_mem_buf'), counts.of('BIO_free')],
  ];
  return pairs
    .filter(([, made, gone]) => made !== gone)
    .map(([what, made, gone]) => `${what}: ${made} made, ${gone} given back`);
}
