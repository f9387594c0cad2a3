// A version that fails is left alone for a while: requests get their answer at once, and the version gets none of them.

import type { HttpAnswer } from '../../lab/agent-protocol.ts';
import { claim } from '../demo-error.ts';
import { eventually } from '../eventually.ts';
import { askStore, podOf, untilStore, waypoints } from '../store-calls.ts';
import type { Step } from '../step.ts';

/** The store answers in JSON, whatever its status; the waypoint does not. */
const fromStore = ({ body }: HttpAnswer): boolean => body.startsWith('{');

export const circuit: Step = {
  name: 'circuit opens and closes',
  async run(world) {
    world.apply('store-circuit.yaml');
    world.remove('store-retry.yaml');
    try {
      await untilStore(world, 'on v2', {}, (answer) => podOf(answer).startsWith('store-v2'));
      let failures = 0;
      await eventually('open at every pod: the circuit', async () => {
        for (let i = 0; i < 3 * waypoints.length; i++) {
          const answer = await askStore(world, { path: '/?fail=store-v2' });
          if (!fromStore(answer)) continue;
          failures++;
          return undefined;
        }
        return true;
      });
      const started = performance.now();
      const { status, body } = await askStore(world);
      const ms = Math.round(performance.now() - started);
      claim(
        status === 503 && !body.startsWith('{'),
        `With an open circuit a request was answered ${status}: ${body}`,
      );
      await untilStore(world, 'closed again: the circuit', {}, (answer) => answer.status === 200);
      return `open after ${failures} failures, 503 in ${ms} ms meanwhile, closed again by itself`;
    } finally {
      world.remove('store-circuit.yaml');
    }
  },
};
