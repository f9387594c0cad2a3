// A replica that answers 503 is hidden by a retry; a request that takes too long is given up in time.

import { claim } from '../demo-error.ts';
import { askStore, callStore, untilStore } from '../store-calls.ts';
import type { Step } from '../step.ts';

const requests = 40;

export const retryTimeout: Step = {
  name: 'retry and timeout',
  async run(world) {
    const failing = '/?fail=store-v1-1';
    world.apply('store-retry.yaml');
    world.remove('store-mirror.yaml');
    await untilStore(world, 'with a timeout', { path: '/?delay=900' }, ({ status }) => status === 504);
    for (let i = 0; i < requests; i++) {
      const { pod } = await callStore(world, { path: failing });
      claim(pod !== 'store-v1-1', 'A failing replica answered 200');
    }
    const started = performance.now();
    const { status } = await askStore(world, { path: '/?delay=3000' });
    const ms = Math.round(performance.now() - started);
    claim(status === 504 && ms < 2000, `A request of 3 s ended with ${status} after ${ms} ms`);
    return `store-v1-1 fails, ${requests} of ${requests} requests do not; a request of 3 s ends with 504 after ${ms} ms`;
  },
};
