// IPv6 works as IPv4 does: captured, encrypted, balanced, by address and by name, with the client's address kept.

import { apiAddress, callApi, claimBalanced, describeSpread, marker, spread } from '../calls.ts';
import { claim } from '../demo-error.ts';
import type { Step } from '../step.ts';
import { usesPort } from './mutual-tls.ts';

export const ipv6: Step = {
  name: 'IPv6 as IPv4',
  async run(world) {
    const web = world.pod('web');
    const api = world.pod('api-2');
    const secret = marker();
    using capture = world.lab.capture();
    const { client } = await callApi(web, { host: api.address.v6 }, `/${secret}`);
    const inTunnel = capture.drain().filter((frame) => usesPort(frame, 15008)).length;
    claim(
      inTunnel > 0 && capture.framesWith(secret) === 0,
      'The request to an IPv6 address can be read on the link',
    );
    claim(client === web.address.v6, `The API saw client ${client} instead of ${web.address.v6}`);
    const byAddress = await spread(web, { host: apiAddress.v6 }, 36);
    claimBalanced(byAddress, `address ${apiAddress.v6}`);
    await spread(web, { host: 'api', family: 6 }, 12);
    return `client ${client} seen, encrypted; ${apiAddress.v6}: ${describeSpread(byAddress)}; name "api" by AAAA`;
  },
};
