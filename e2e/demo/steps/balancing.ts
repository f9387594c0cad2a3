// Connections to the Service spread over its three replicas, by its virtual address and by its name.

import { apiAddress, claimBalanced, describeSpread, spread } from '../calls.ts';
import type { Step } from '../step.ts';

const requests = 60;

export const balancing: Step = {
  name: 'balanced by Service address and name',
  async run(world) {
    const web = world.pod('web');
    const byAddress = await spread(web, { host: apiAddress.v4 }, requests);
    claimBalanced(byAddress, `address ${apiAddress.v4}`);
    const byName = await spread(web, { host: 'api' }, requests);
    claimBalanced(byName, 'name "api"');
    return `${apiAddress.v4}: ${describeSpread(byAddress)}; name "api": ${describeSpread(byName)}`;
  },
};
