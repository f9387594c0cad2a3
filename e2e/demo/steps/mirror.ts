// Every request is answered by v1 and seen by v2.

import { claim } from '../demo-error.ts';
import { eventually } from '../eventually.ts';
import { podOf, type StoreAnswer, storePort, untilStore, versions } from '../store-calls.ts';
import type { Step } from '../step.ts';

const requests = 40;

export const mirror: Step = {
  name: 'mirrored to the new version',
  async run(world) {
    world.apply('store-mirror.yaml');
    world.remove('store-a-b.yaml');
    const tester = { headers: { 'x-group': 'testers' } };
    await untilStore(world, 'mirrored', tester, (answer) => podOf(answer).startsWith('store-v1'));
    const path = `/mirrored-${crypto.randomUUID()}`;
    const { v2 } = await versions(world, requests, { path });
    claim(v2 === 0, `${v2} of ${requests} requests were answered by v2, which is only to listen`);
    // Asked at its own address, where no route leads elsewhere.
    const seen = (): Promise<number> => timesSeen(world, path);
    const count = await eventually('mirrored: all of them', async () => {
      const now = await seen();
      return now >= requests ? now : undefined;
    });
    claim(count === requests, `v2 saw ${count} copies of ${requests} requests`);
    return `${requests} requests answered by v1, ${count} copies seen by v2`;
  },
};

async function timesSeen(world: Parameters<Step['run']>[0], path: string): Promise<number> {
  const { v4 } = world.pod('store-v2').address;
  const question = { host: v4, port: storePort, path: `/?seen=${encodeURIComponent(path)}`, timeoutMs: 5000 };
  const { body } = await world.pod('web').agent.call('http', question);
  return (JSON.parse(body) as StoreAnswer).seen ?? 0;
}
