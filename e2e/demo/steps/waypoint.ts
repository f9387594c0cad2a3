// A Gateway, two processes and a label: requests to the store go through the waypoint, nothing is restarted, and the
// store still sees who asks.

import { claim } from '../demo-error.ts';
import { eventually } from '../eventually.ts';
import { askStore, callStore, waypoints } from '../store-calls.ts';
import type { Step } from '../step.ts';

export const waypoint: Step = {
  name: 'waypoint in front of a Service',
  essential: true,
  async run(world) {
    await callStore(world);
    world.apply('waypoint.yaml');
    await Promise.all(waypoints.map((name) => world.startApp(name)));
    world.apply('store-services.yaml');
    const answer = await eventually('through the waypoint: a request', async () => {
      const { status, body } = await askStore(world);
      if (status !== 200) return undefined;
      const seen = JSON.parse(body) as { headers: Record<string, string> };
      return seen.headers['x-request-id'] === undefined ? undefined : seen;
    });
    const forwarded = answer.headers['x-forwarded-for'] ?? 'nothing';
    const web = world.pod('web').address.v4;
    claim(forwarded === web, `The store saw x-forwarded-for: ${forwarded}, not web's address ${web}`);
    return `2 pods serve it; the store sees x-forwarded-for ${forwarded}`;
  },
};
