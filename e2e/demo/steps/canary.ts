// A route splits by weight; editing one number moves everybody.

import { claim } from '../demo-error.ts';
import { podOf, untilStore, versions } from '../store-calls.ts';
import type { Step } from '../step.ts';

const file = 'store-route.yaml';
const requests = 400;

export const canary: Step = {
  name: 'canary 95/5, then 0/100',
  async run(world) {
    world.apply(file);
    await untilStore(world, 'routed by weight', {}, ({ status }) => status === 200);
    const split = await versions(world, requests);
    const share = (100 * split.v2) / requests;
    claim(
      share > 2 && share < 9,
      `${split.v2} of ${requests} requests (${share} %) went to v2, not about 5 %`,
    );
    world.edit(file, 'weight: 95', 'weight: 0');
    await untilStore(world, 'all on v2', {}, (answer) => podOf(answer).startsWith('store-v2'));
    const moved = await versions(world, 100);
    claim(moved.v1 === 0, `${moved.v1} of 100 requests still went to v1, which has weight 0`);
    return `v1 ${split.v1}, v2 ${split.v2} of ${requests}; after the edit v2 ${moved.v2} of 100`;
  },
};
