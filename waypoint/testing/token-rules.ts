// Tokens as the tests of the data plane ask for them: of one issuer that has no keys, so every token is refused.

import { requestAuthenticationKey } from '../../mesh/model/key.ts';
import { gateway } from './plane-rig.ts';

export const keylessAuthentication = {
  key: requestAuthenticationKey('shop', 'tokens'),
  namespace: 'shop',
  targets: [{ kind: 'gateway', gateway }],
  rules: [
    {
      issuer: 'https://issuer.test',
      audiences: [],
      keys: { kind: 'inline', jwks: '{"keys":[]}' },
      locations: [{ kind: 'header', name: 'authorization', prefix: 'Bearer ' }],
      claimHeaders: [{ claim: 'sub', header: 'x-user' }],
      forward: false,
      payloadHeader: undefined,
    },
  ],
} as const;
