// An AuthorizationPolicy takes effect while connections are open: what it forbids is cut and refused, the rest is not
// disturbed, and the log of the client's own node says which policy it was.

import { apiAddress, callApi, echoPort, refusal } from '../calls.ts';
import { claim } from '../demo-error.ts';
import { eventually } from '../eventually.ts';
import type { Step } from '../step.ts';

const policyFile = 'api-only-from-web.yaml';
const policyName = 'api-only-from-web';

export const livePolicy: Step = {
  name: 'policy cuts and refuses live',
  async run(world) {
    const web = world.pod('web');
    const batch = world.pod('batch');
    const open = { host: apiAddress.v4, port: echoPort };
    await batch.agent.call('open', { ...open, id: 'forbidden' });
    await web.agent.call('open', { ...open, id: 'allowed' });
    await batch.agent.call('exchange', { id: 'forbidden', text: 'before the policy' });
    await web.agent.call('exchange', { id: 'allowed', text: 'before the policy' });
    const log = world.tunnel(batch.node).log;
    const from = log.mark();
    try {
      const started = performance.now();
      world.apply(policyFile);
      const cut = await batch.agent.call('awaitClose', { id: 'forbidden', timeoutMs: 10_000 });
      claim(!cut.open, 'The open connection that the policy forbids was not cut');
      const ms = Math.round(performance.now() - started);
      const reason = await eventually('refused: a new connection of batch', () =>
        refusal(batch, { host: apiAddress.v4 }),
      );
      const line = await log.waitFor(new RegExp(policyName), { from });
      claim(
        line.includes(batch.address.v4),
        `The log names the policy, but not the client ${batch.address.v4}: ${line}`,
      );
      await callApi(web, { host: apiAddress.v4 });
      const echo = await web.agent.call('exchange', { id: 'allowed', text: 'still here' });
      claim(echo === 'still here', 'The connection that the policy allows was disturbed');
      return `batch cut after ${ms} ms (${cut.reason}), then refused (${reason}); its node's log names ${policyName}; web goes on`;
    } finally {
      world.remove(policyFile);
      await eventually('admitted again: batch', () => callApi(batch, { host: apiAddress.v4 }));
    }
  },
};
