// The controller is killed: traffic goes on, new connections and names included. Started again with the same state, it
// is obeyed as before.

import { apiAddress, callApi, describeSpread, refusal, spread } from '../calls.ts';
import { eventually } from '../eventually.ts';
import type { Step } from '../step.ts';

const policyFile = 'api-only-from-web.yaml';

export const controllerStopped: Step = {
  name: 'controller stopped, traffic goes on',
  async run(world) {
    const web = world.pod('web');
    const batch = world.pod('batch');
    const target = { host: apiAddress.v4 };
    await world.killController();
    const counts = await spread(web, { host: 'api' }, 60);
    await world.startController();
    try {
      world.apply(policyFile);
      await eventually('obeyed: the controller after its restart', () => refusal(batch, target), 20_000);
    } finally {
      world.remove(policyFile);
      await eventually('admitted again: batch', () => callApi(batch, target));
    }
    return `60 requests without a controller, 0 failed (${describeSpread(counts)}); after its restart a new policy took effect`;
  },
};
