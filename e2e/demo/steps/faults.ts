// Delays and aborts for the requests that a policy picks, and for no others.

import { claim } from '../demo-error.ts';
import { askStore, untilStore } from '../store-calls.ts';
import type { Step } from '../step.ts';

export const faults: Step = {
  name: 'injected delay and abort',
  async run(world) {
    world.apply('store-faults.yaml');
    try {
      const abort = { headers: { 'x-chaos': 'abort' } };
      await untilStore(world, 'aborted', abort, ({ status }) => status === 418);
      const timed = async (headers: Readonly<Record<string, string>>) => {
        const started = performance.now();
        const { status } = await askStore(world, { headers });
        return { status, ms: Math.round(performance.now() - started) };
      };
      const delayed = await timed({ 'x-chaos': 'delay' });
      claim(
        delayed.status === 200 && delayed.ms >= 300,
        `A delayed request ended with ${delayed.status} after ${delayed.ms} ms`,
      );
      const other = await timed({});
      claim(other.status === 200, `A request without the header ended with ${other.status}`);
      return `x-chaos: abort is answered 418, x-chaos: delay takes ${delayed.ms} ms, others pass (${other.ms} ms)`;
    } finally {
      world.remove('store-faults.yaml');
    }
  },
};
