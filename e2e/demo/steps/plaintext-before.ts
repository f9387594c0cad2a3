// Before the label: what a pod sends to another node can be read on the link by anyone.

import { callApi, echoPort, marker } from '../calls.ts';
import { claim } from '../demo-error.ts';
import type { Step } from '../step.ts';

/** Opened before the label and used again after it. */
export const oldConnection = 'opened before the label';

export const plaintextBefore: Step = {
  name: 'plaintext before the label',
  essential: true,
  async run(world) {
    const web = world.pod('web');
    const api = world.pod('api-2');
    const secret = marker();
    using capture = world.lab.capture();
    const answer = await callApi(web, { host: api.address.v4 }, `/${secret}`);
    const frames = capture.framesWith(secret);
    claim(frames > 0, 'The request does not show in the packets on the link');
    claim(
      answer.client === web.address.v4,
      `The API saw client ${answer.client} instead of ${web.address.v4}`,
    );
    await web.agent.call('open', { id: oldConnection, host: api.address.v4, port: echoPort });
    await web.agent.call('exchange', { id: oldConnection, text: 'before' });
    return `web -> api-2: the request can be read in ${frames} packets on the link`;
  },
};
