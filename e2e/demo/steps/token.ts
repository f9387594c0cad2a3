// A path that only a valid token opens.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { exportJWK, generateKeyPair, SignJWT } from 'jose';
import { claim } from '../demo-error.ts';
import { askStore, callStore, untilStore } from '../store-calls.ts';
import type { Step } from '../step.ts';

const file = 'store-private.yaml';
const path = '/private/orders';

export const token: Step = {
  name: 'JWT-protected path',
  async run(world) {
    const keys = await generateKeyPair('ES256');
    const wrongKeys = await generateKeyPair('ES256');
    const jwks = { keys: [{ ...(await exportJWK(keys.publicKey)), kid: 'demo', alg: 'ES256' }] };
    const manifest = readFileSync(join(import.meta.dirname, '../manifests/steps', file), 'utf8');
    world.write(file, manifest.replace("'KEYS'", `'${JSON.stringify(jwks)}'`));
    try {
      await untilStore(world, 'protected', { path }, ({ status }) => status === 403);
      const bearer = async (key: CryptoKey) => {
        const signed = await new SignJWT({})
          .setProtectedHeader({ alg: 'ES256', kid: 'demo' })
          .setIssuer('https://login.demo.example')
          .setSubject('alice')
          .setExpirationTime('5m')
          .sign(key);
        return { authorization: `Bearer ${signed}` };
      };
      await callStore(world, { path, headers: await bearer(keys.privateKey) });
      const forged = await askStore(world, { path, headers: await bearer(wrongKeys.privateKey) });
      claim(forged.status === 401, `A forged token was answered ${forged.status}`);
      await callStore(world, { path: '/public' });
      return `${path}: 403 without a token, 401 with a forged one, 200 with alice's; other paths need none`;
    } finally {
      world.remove(file);
    }
  },
};
