// Requests with tokens through a whole data plane: real keys, a real server for them, policies by claims.

import { createServer, type IncomingMessage } from 'node:http';
import { describe, expect, it } from 'vitest';
import { emptyHttp, emptyMatch } from '../../mesh/model/authorization.ts';
import { makePolicy } from '../../mesh/model/fixture.ts';
import type { HttpMatchConditions } from '../../mesh/model/authorization.ts';
import { requestAuthenticationKey } from '../../mesh/model/key.ts';
import { systemClock } from '../../mesh/runtime/clock.ts';
import { JwksServer, keySetOf, makeKey, sign } from '../jwt/testing/issuer.ts';
import { TokenVerifier } from '../jwt/token-verifier.ts';
import { ask, type Answer } from '../testing/ask.ts';
import { freePort, HboneSide } from '../testing/hbone-side.ts';
import { gateway, PlaneRig } from '../testing/plane-rig.ts';

const issuer = 'https://issuer.test';

function policyOn(name: string, action: 'allow' | 'deny', http: Partial<HttpMatchConditions>) {
  const matches = [{ ...emptyMatch, http: { ...emptyHttp, ...http } }];
  return makePolicy('shop', name, { action, rules: [{ name: 'r', clauses: [{ matches }] }] });
}

/** A service whose tokens are verified by a key of a real server. */
async function world(options: { readonly jwksUrl?: string } = {}) {
  const key = await makeKey('k1');
  const jwks = await JwksServer.start(keySetOf(key));
  const verifier = new TokenVerifier({ clock: systemClock });
  const hbonePort = freePort();
  const rig: PlaneRig = new PlaneRig(
    {},
    {
      hbonePort,
      verifyToken: (job) => void verifier.verify(job).then((answer) => rig.plane.answerToken(answer)),
    },
  );
  rig.onClose(() => jwks[Symbol.asyncDispose]());
  const seen: IncomingMessage[] = [];
  const target = await rig.serve(
    createServer((incoming, outgoing) => {
      seen.push(incoming);
      outgoing.setHeader('x-weft-policy', 'whatever');
      outgoing.end('hello');
    }),
  );
  const service = rig.service('api', [target]);
  rig.apply({
    requestAuthentications: [
      {
        key: requestAuthenticationKey('shop', 'tokens'),
        namespace: 'shop',
        targets: [{ kind: 'service', service: service.key }],
        rules: [
          {
            issuer,
            audiences: [],
            keys: { kind: 'url', url: options.jwksUrl ?? jwks.url },
            locations: [{ kind: 'header', name: 'authorization', prefix: 'Bearer ' }],
            claimHeaders: [{ claim: 'sub', header: 'x-user' }],
            forward: false,
            payloadHeader: undefined,
          },
        ],
      },
    ],
  });
  const port = rig.listen(service);
  const get = (token?: string, path = '/', headers: Record<string, string> = {}): Promise<Answer> =>
    ask(rig, port, { path, headers: { ...headers, ...(token && { authorization: `Bearer ${token}` }) } });
  return { rig, key, jwks, get, seen, service };
}

describe('a request with a token', () => {
  it('reaches the application with its claims in headers, without the token, and is verified once', async () => {
    const { rig, key, jwks, get, seen } = await world();
    await using _rig = rig;
    const token = await sign(key, { iss: issuer, sub: 'ann' });
    for (let i = 0; i < 3; i++) expect((await get(token, '/', { 'x-user': 'root' })).status).toBe(200);
    expect(seen.map(({ headers }) => [headers['x-user'], headers.authorization])).toEqual(
      Array(3).fill(['ann', undefined]),
    );
    expect(jwks.requests).toBe(1);
    expect((await rig.record(2)).requestPrincipal).toBe(`${issuer}/ann`);
  });

  it('is refused with 401 when it is not valid, and passes as nobody without one', async () => {
    const { rig, key, get, seen } = await world();
    await using _rig = rig;
    const expired = await get(await sign(key, { iss: issuer, exp: 1 }));
    expect([expired.status, expired.headers['www-authenticate']]).toEqual([
      401,
      'Bearer error="invalid_token", error_description="The token has expired"',
    ]);
    expect(await rig.record()).toMatchObject({ status: 401, flag: 'UAEX', details: 'The token has expired' });
    const forged = await sign(await makeKey('k1'), { iss: issuer });
    expect((await get(forged)).status).toBe(401);
    expect((await get(undefined, '/', { 'x-user': 'root' })).status).toBe(200);
    expect(seen.map(({ headers }) => headers['x-user'])).toEqual([undefined]);
  });

  it('is decided by its claims, and by the header that only the token sets', async () => {
    const { rig, key, get } = await world();
    await using _rig = rig;
    const present = { kind: 'presence' } as const;
    rig.apply({
      policies: [
        policyOn('needs-token', 'deny', { notRequestPrincipals: [present] }),
        policyOn('staff', 'allow', {
          claims: [{ path: ['realm', 'roles'], values: [{ kind: 'exact', value: 'staff' }], notValues: [] }],
        }),
        policyOn('ann', 'allow', {
          headers: [{ name: 'x-user', values: [{ kind: 'exact', value: 'ann' }], notValues: [] }],
        }),
      ],
    });
    const as = (claims: object): Promise<string> => sign(key, { iss: issuer, ...claims });
    const statuses = [
      await get(),
      await get(undefined, '/', { 'x-user': 'ann' }),
      await get(await as({ sub: 'bob', realm: { roles: ['staff', 'x'] } })),
      await get(await as({ sub: 'ann' })),
      await get(await as({ sub: 'bob' }), '/', { 'x-user': 'ann' }),
    ].map(({ status }) => status);
    expect(statuses).toEqual([403, 403, 200, 200, 403]);
    expect((await rig.record()).details).toContain('shop/needs-token');
  });

  it('is answered 503 while the keys can not be had', async () => {
    const { rig, key, get } = await world({ jwksUrl: `http://127.0.0.1:${freePort()}/` });
    await using _rig = rig;
    expect((await get(await sign(key, { iss: issuer }))).status).toBe(503);
    expect(await rig.record()).toMatchObject({ status: 503, flag: 'UAEX' });
    expect((await get()).status).toBe(200);
  });

  it('signed by a new key is taken as soon as the issuer publishes it', async () => {
    const { rig, key, jwks, get } = await world();
    await using _rig = rig;
    expect((await get(await sign(key, { iss: issuer }))).status).toBe(200);
    const next = await makeKey('k2');
    jwks.serve(keySetOf(next));
    expect((await get(await sign(next, { iss: issuer }))).status).toBe(200);
  });
});

describe('which policy decided', () => {
  const asking = { 'x-weft-explain': 'policy' };

  it('is told to a client the Gateway names, and the application has no say in it', async () => {
    const { rig } = await world();
    await using _rig = rig;
    const config = {
      gateway,
      servesFor: 'service',
      serviceAccount: 'waypoint',
      addresses: [],
      forwardClientCert: false,
    } as const;
    const denied = policyOn('no-admin', 'deny', { paths: [{ kind: 'exact', value: '/admin' }] });
    rig.apply({ waypoints: [{ ...config, explainPolicyTo: ['shop/*'] }], policies: [denied] });
    const side = await HboneSide.open(rig);
    const port = side.capture('10.96.0.1:80');
    const told = async (path: string): Promise<unknown[]> => {
      const { status, headers } = await ask(rig, port, { path, headers: asking });
      return [status, headers['x-weft-policy']];
    };
    expect(await told('/admin')).toEqual([403, 'denied-by; policy="shop/no-admin"; rule="r"']);
    expect(await told('/')).toEqual([200, 'no-policy']);
    rig.apply({ waypoints: [{ ...config, explainPolicyTo: ['bank/*'] }] });
    expect(await told('/admin')).toEqual([403, undefined]);
  });

  it('is not told to a client without an identity', async () => {
    const { rig, get } = await world();
    await using _rig = rig;
    rig.apply({ policies: [policyOn('no-admin', 'deny', { paths: [{ kind: 'exact', value: '/admin' }] })] });
    const { status, headers } = await get(undefined, '/admin', asking);
    expect([status, headers['x-weft-policy']]).toEqual([403, undefined]);
  });
});
