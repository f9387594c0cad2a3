// PeerAuthentication decides whether a pod outside the mesh may call in plaintext.

import { callApi, refusal } from '../calls.ts';
import { claim } from '../demo-error.ts';
import { eventually } from '../eventually.ts';
import type { Step } from '../step.ts';

const strict = 'peer-authentication-strict.yaml';
const permissive = 'peer-authentication-permissive.yaml';

export const strictMode: Step = {
  name: 'STRICT refuses, PERMISSIVE admits',
  async run(world) {
    const stranger = world.pod('stranger');
    const api = { host: world.pod('api-2').address.v4 };
    try {
      world.apply(strict);
      const reason = await eventually('refused: the stranger under STRICT', () => refusal(stranger, api));
      await callApi(world.pod('web'), api);
      world.remove(strict);
      world.apply(permissive);
      const { client } = await eventually('admitted: the stranger under PERMISSIVE', () =>
        callApi(stranger, api),
      );
      claim(client === stranger.address.v4, `The API saw client ${client} instead of the stranger`);
      return `stranger refused (${reason}) while web passed; admitted again under PERMISSIVE`;
    } finally {
      world.remove(strict);
      world.remove(permissive);
    }
  },
};
