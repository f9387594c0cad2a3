// Who gets certificates of a controller on a real API server: callers by ServiceAccount token and by join token.

import { sign as signBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { JoinTokens } from '../../controller/identity/join-tokens.ts';
import { formatSpiffeId } from '../../mesh/model/spiffe-id.ts';
import { systemClock } from '../../mesh/runtime/clock.ts';
import { createCsr } from '../../mesh/tls/csr.ts';
import { GrpcSigner } from '../../mesh/tls/grpc-signer.ts';
import { applyOwnDefinitions } from './definitions.ts';
import { rootOf, type Running, RunningControllers } from './running-controllers.ts';
import { ShopServer, tunnelPod, webIdentity } from './shop-server.ts';

let shop: ShopServer;
let controllers: RunningControllers;

beforeAll(async () => {
  shop = await ShopServer.start();
  await applyOwnDefinitions(shop.server);
  await shop.open();
  controllers = new RunningControllers(shop);
});
afterEach(async () => await controllers.stop());
afterAll(async () => await shop.close());

describe('callers', () => {
  it('get certificates for pods of the node their token is bound to', async () => {
    const replica = await controllers.start();
    const chain = await sign(replica, await token({}));
    expect(chain[0]).toContain('BEGIN CERTIFICATE');
  });

  it.each([
    ['that expired five minutes ago', -300, /Token refused: token-expired$/],
    ['that is valid in five minutes', 300, /Token refused: token-unknown$/],
  ])(
    'whose clock is wrong are told with a token %s, and served with a good one',
    async (_what, shift, said) => {
      const replica = await controllers.start();
      const good = await token({});
      await expect(sign(replica, await shifted(good, shift))).rejects.toThrow(said);
      expect(await refusals(replica)).toBe(1);
      expect((await sign(replica, good))[0]).toContain('BEGIN CERTIFICATE');
    },
  );

  it('may still bring a join token', async () => {
    const replica = await controllers.start();
    const { token: joinToken } = await new JoinTokens({ stateDir: replica.state, clock: systemClock }).create(
      'node-1',
    );
    expect((await sign(replica, joinToken))[0]).toContain('BEGIN CERTIFICATE');
  });

  it.each([
    ['for another audience', { audience: 'other' }],
    ['of a service account that is no node tunnel', { account: 'web', namespace: 'shop', pod: 'web' }],
    ['that is bound to no pod', { pod: '' }],
  ])('are refused with a token %s', async (_what, wish) => {
    const replica = await controllers.start();
    await expect(sign(replica, await token(wish))).rejects.toThrow(/token/i);
  });

  it('are refused with a token that somebody else signed, and with none', async () => {
    const replica = await controllers.start();
    const [head, , signature] = (await token({})).split('.');
    const claims = {
      aud: ['weft'],
      exp: 4_000_000_000,
      sub: 'system:serviceaccount:weft-system:weft-ztunnel',
    };
    const forged = `${head}.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.${signature}`;
    await expect(sign(replica, forged)).rejects.toThrow(/token/i);
    await expect(sign(replica, 'weft_none')).rejects.toThrow(/token/i);
  });

  it('keep getting certificates while API server and etcd are away', async () => {
    const replica = await controllers.start();
    const bearer = await token({});
    await sign(replica, bearer);
    await shop.server.stopServer();
    await shop.server.stopEtcd();
    try {
      expect((await sign(replica, bearer))[0]).toContain('BEGIN CERTIFICATE');
    } finally {
      shop.server.startEtcd();
      await shop.server.startServer();
    }
  });

  it('are refused once their service account was deleted', async () => {
    await shop.writer.put({
      apiVersion: 'v1',
      kind: 'ServiceAccount',
      metadata: { name: 'ztunnel', namespace: 'weft-system' },
    });
    await shop.writer.put({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: 'short', namespace: 'weft-system' },
      spec: { nodeName: 'node-1', serviceAccountName: 'ztunnel', containers: [{ name: 'main', image: 'x' }] },
    });
    const bearer = await token({ account: 'ztunnel', pod: 'short' });
    await shop.writer.delete({
      apiVersion: 'v1',
      kind: 'ServiceAccount',
      name: 'ztunnel',
      namespace: 'weft-system',
    });
    const replica = await controllers.start();
    await expect(sign(replica, bearer)).rejects.toThrow(/token/i);
  });
});

async function token({
  audience = 'weft',
  account = 'weft-ztunnel',
  namespace = 'weft-system',
  pod = tunnelPod,
}: {
  audience?: string;
  account?: string;
  namespace?: string;
  pod?: string;
}): Promise<string> {
  const bound = pod === '' ? [] : ['--bound-object-kind=Pod', `--bound-object-name=${pod}`];
  const args = [
    'create',
    'token',
    account,
    '-n',
    namespace,
    `--audience=${audience}`,
    '--duration=10m',
    ...bound,
  ];
  return (await shop.server.kubectlOk(args)).trim();
}

/** The same claims, in a life of ten minutes that began (or begins) so many seconds from now; signed by the cluster. */
async function shifted(bearer: string, seconds: number): Promise<string> {
  const [, payload = ''] = bearer.split('.');
  const now = Math.floor(Date.now() / 1000);
  const nbf = seconds > 0 ? now + seconds : now + seconds - 600;
  const claims = JSON.parse(Buffer.from(payload, 'base64url').toString('utf8')) as object;
  const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const text = `${encode({ alg: 'ES256' })}.${encode({ ...claims, iat: nbf, nbf, exp: nbf + 600 })}`;
  const key = await readFile(shop.server.keys.path('sa.key'), 'utf8');
  const signature = signBytes('sha256', Buffer.from(text), { key, dsaEncoding: 'ieee-p1363' });
  return `${text}.${signature.toString('base64url')}`;
}

/** Certificate requests that were refused, as the metrics have it. */
async function refusals({ ports }: Running): Promise<number> {
  const text = await (await fetch(`http://127.0.0.1:${ports.admin}/metrics`)).text();
  const counts = [...text.matchAll(/^weft_controller_certificate_requests_total\{result="(.+)"\} (\d+)$/gm)];
  return counts
    .filter(([, result]) => result !== 'issued')
    .reduce((sum, [, , count]) => sum + Number(count), 0);
}

async function sign(replica: Running, bearer: string): Promise<readonly string[]> {
  const roots = await rootOf(replica);
  const signer = new GrpcSigner({
    address: `127.0.0.1:${replica.ports.grpc}`,
    rootCertificates: () => roots,
    token: () => bearer,
    clusterId: 'Kubernetes',
    clock: systemClock,
  });
  try {
    const spiffeId = formatSpiffeId(webIdentity);
    const { csrPem } = await createCsr(webIdentity);
    return await signer.sign(csrPem, { validitySeconds: 3_600, impersonate: spiffeId });
  } finally {
    signer.close();
  }
}
