// The application still sees who really called: the pod's address, not the tunnel's.

import { callApi } from '../calls.ts';
import { claim } from '../demo-error.ts';
import type { Step } from '../step.ts';

export const clientAddress: Step = {
  name: 'the app sees the client',
  async run(world) {
    const web = world.pod('web');
    for (const replica of world.podsOf('api')) {
      const { client } = await callApi(web, { host: replica.address.v4 });
      claim(client === web.address.v4, `${replica.name} saw client ${client} instead of ${web.address.v4}`);
    }
    return `every replica saw ${web.address.v4}, on the same node and across the link`;
  },
};
