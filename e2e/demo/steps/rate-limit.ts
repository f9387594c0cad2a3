// Each client identity has its own share: one that has used it up is told when to come back, another is not concerned.

import { claim } from '../demo-error.ts';
import { eventually } from '../eventually.ts';
import { askStore, callStore } from '../store-calls.ts';
import type { Step } from '../step.ts';

const requests = 5;
const path = '/limited';

export const rateLimit: Step = {
  name: 'rate limit per identity',
  async run(world) {
    world.apply('store-rate-limit.yaml');
    try {
      const refused = await eventually('over its limit: web', async () => {
        const answer = await askStore(world, { path });
        return answer.status === 429 ? answer : undefined;
      });
      const retryAfter = Number(refused.headers['retry-after']);
      claim(retryAfter > 0, `The refusal does not say when to come back: ${JSON.stringify(refused.headers)}`);
      for (let i = 0; i < requests; i++) await callStore(world, { path, from: 'batch' });
      await callStore(world, { path: '/' });
      return `web: 429 with Retry-After ${retryAfter} once its ${requests} at each pod were used; batch has its own ${requests}`;
    } finally {
      world.remove('store-rate-limit.yaml');
    }
  },
};
