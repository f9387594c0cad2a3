// Requests are told apart by a header and by a query parameter.

import { claim } from '../demo-error.ts';
import { callStore, podOf, untilStore } from '../store-calls.ts';
import type { Step } from '../step.ts';

export const aB: Step = {
  name: 'A/B by header and by query',
  async run(world) {
    world.apply('store-a-b.yaml');
    world.remove('store-route.yaml');
    await untilStore(world, 'on v1', {}, (answer) => podOf(answer).startsWith('store-v1'));
    const cases = [
      { headers: { 'x-group': 'testers' }, version: 'store-v2' },
      { headers: { 'x-group': 'others' }, version: 'store-v1' },
      { path: '/?preview=1', version: 'store-v2' },
      { path: '/?preview=2', version: 'store-v1' },
    ];
    for (const { version, ...request } of cases) {
      for (let i = 0; i < 10; i++) {
        const { pod } = await callStore(world, request);
        claim(
          pod.startsWith(version),
          `${JSON.stringify(request)} was answered by ${pod}, not by ${version}`,
        );
      }
    }
    return 'x-group: testers and ?preview=1 go to v2, everything else to v1: 40 of 40';
  },
};
