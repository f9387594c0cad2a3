// The whole controller on a real API server: statuses and events as kubectl shows them, one leader of two, callers by
// ServiceAccount token, one root for all replicas.

import { randomUUID, sign as signBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { Controller, type ControllerPorts, rootCertificatePath } from '../../controller/app.ts';
import { parseControllerConfig } from '../../controller/config.ts';
import { JoinTokens } from '../../controller/identity/join-tokens.ts';
import { KubeClient } from '../../controller/kubernetes/kube-client.ts';
import { formatSpiffeId } from '../../mesh/model/spiffe-id.ts';
import { systemClock } from '../../mesh/runtime/clock.ts';
import { createCsr } from '../../mesh/tls/csr.ts';
import { GrpcSigner } from '../../mesh/tls/grpc-signer.ts';
import { ApiServer } from './api-server.ts';
import { applyOwnDefinitions } from './definitions.ts';
import { type Manifest, ObjectWriter } from './object-writer.ts';

interface Condition {
  readonly type: string;
  readonly status: string;
  readonly reason: string;
  readonly message: string;
  readonly observedGeneration: number;
  readonly lastTransitionTime: string;
}

const own = 'weft.dev/v1alpha1';
const identity = { trustDomain: 'cluster.local', namespace: 'shop', serviceAccount: 'web' };
const shop = { namespace: 'shop' };

let server: ApiServer;
let client: KubeClient;
let writer: ObjectWriter;

beforeAll(async () => {
  server = await ApiServer.start({ audit: true });
  client = KubeClient.fromFile(server.kubeconfig, { clock: systemClock });
  writer = new ObjectWriter(client);
  await applyOwnDefinitions(server);
  await writer.apply(`
apiVersion: v1
kind: Namespace
metadata: { name: weft-system }
---
apiVersion: v1
kind: Namespace
metadata: { name: shop, labels: { weft.dev/mode: ambient } }
---
apiVersion: v1
kind: ServiceAccount
metadata: { name: web, namespace: shop }
---
apiVersion: v1
kind: ServiceAccount
metadata: { name: weft-ztunnel, namespace: weft-system }
---
apiVersion: v1
kind: Node
metadata: { name: node-1 }
---
apiVersion: v1
kind: Service
metadata: { name: web, namespace: shop }
spec: { selector: { app: web }, ports: [{ port: 80 }] }
---
apiVersion: v1
kind: Pod
metadata: { name: web, namespace: shop, labels: { app: web } }
spec: { nodeName: node-1, serviceAccountName: web, containers: [{ name: main, image: x }] }
status: { phase: Running, podIP: 10.1.0.1, podIPs: [{ ip: 10.1.0.1 }] }
---
apiVersion: v1
kind: Pod
metadata: { name: ztunnel-1, namespace: weft-system }
spec: { nodeName: node-1, serviceAccountName: weft-ztunnel, containers: [{ name: main, image: x }] }
`);
});
afterAll(async () => {
  client.close();
  await server.close();
});

interface Running {
  readonly controller: Controller;
  readonly ports: ControllerPorts;
  readonly state: string;
}

const running: Running[] = [];
afterEach(async () => {
  for (const { controller } of running.splice(0)) await controller.stop();
});

async function start(kubeconfig = server.kubeconfig): Promise<Running> {
  const state = join(server.directory, `state-${randomUUID()}`);
  const flags = { kubeconfig, state, address: '127.0.0.1:0', admin: '127.0.0.1:0', 'log-level': 'silent' };
  const parsed = parseControllerConfig(flags);
  if (!parsed.ok) throw new Error(parsed.problems.join('\n'));
  const controller = new Controller(parsed.config, { clock: systemClock });
  const started = { controller, ports: await controller.start(), state };
  running.push(started);
  return started;
}

const policy = (kind: string, name: string, spec: object): Manifest => ({
  apiVersion: own,
  kind,
  metadata: { name, ...shop },
  spec,
});
/** Two objects without a selector would conflict. */
const only = (app: string) => ({ selector: { matchLabels: { app } } });
const target = (name: string) => ({ kind: 'Service', name });

async function conditions(kind: string, name: string): Promise<readonly Condition[]> {
  const object = await writer.get<{ status?: { conditions?: Condition[] } }>({
    apiVersion: own,
    kind,
    name,
    ...shop,
  });
  return object.status?.conditions ?? [];
}

/** Waits until the conditions read as told, `Type=Status`, in any order. */
async function expectConditions(kind: string, name: string, expected: readonly string[]): Promise<void> {
  const read = async () =>
    (await conditions(kind, name)).map(({ type, status }) => `${type}=${status}`).sort();
  await expect.poll(read, { timeout: 30_000 }).toEqual([...expected].sort());
}

describe('statuses', () => {
  it('tell good objects from those that conflict or refer to nothing', async () => {
    await start();
    await writer.put(policy('AuthorizationPolicy', 'good', { targetRefs: [target('web')], rules: [{}] }));
    await writer.put(policy('AuthorizationPolicy', 'lost', { targetRefs: [target('nowhere')], rules: [{}] }));
    await writer.put(policy('TrafficPolicy', 'first', { targetRefs: [target('web')] }));
    await expectConditions('TrafficPolicy', 'first', [
      'Accepted=True',
      'Conflicted=False',
      'Programmed=True',
      'ResolvedRefs=True',
    ]);
    // The API server's times have seconds, and the older one counts.
    await new Promise((resolve) => setTimeout(resolve, 1_100));
    await writer.put(policy('TrafficPolicy', 'second', { targetRefs: [target('web')] }));
    await expectConditions('AuthorizationPolicy', 'good', [
      'Accepted=True',
      'Conflicted=False',
      'Programmed=True',
      'ResolvedRefs=True',
    ]);
    const lost = async () =>
      (await conditions('AuthorizationPolicy', 'lost')).find(({ type }) => type === 'ResolvedRefs');
    await expect.poll(lost, { timeout: 20_000 }).toMatchObject({ status: 'False' });
    expect((await lost())?.message).toContain('nowhere');
    const second = async () =>
      (await conditions('TrafficPolicy', 'second')).find(({ type }) => type === 'Conflicted');
    await expect.poll(second, { timeout: 20_000 }).toMatchObject({ status: 'True' });
    expect((await second())?.message).toContain('first');
    const shown = await server.kubectlOk(['get', 'authorizationpolicy', 'good', '-n', 'shop']);
    expect(shown).toMatch(/good +ALLOW +false +True/);
  });

  it('follow the generation, keep the time of what did not change, and are not written again', async () => {
    await start();
    await writer.put(policy('PeerAuthentication', 'modes', { ...only('modes'), mtls: { mode: 'STRICT' } }));
    const expected = ['Accepted=True', 'Conflicted=False', 'Programmed=True'];
    await expectConditions('PeerAuthentication', 'modes', expected);
    const before = await conditions('PeerAuthentication', 'modes');
    await writer.put(
      policy('PeerAuthentication', 'modes', { ...only('modes'), mtls: { mode: 'PERMISSIVE' } }),
    );
    const generations = async () =>
      (await conditions('PeerAuthentication', 'modes')).map(({ observedGeneration }) => observedGeneration);
    await expect.poll(generations, { timeout: 20_000 }).toEqual([2, 2, 2]);
    const times = (list: readonly Condition[]) => list.map(({ lastTransitionTime }) => lastTransitionTime);
    expect(times(await conditions('PeerAuthentication', 'modes'))).toEqual(times(before));
    const version = async () =>
      (await writer.get({ apiVersion: own, kind: 'PeerAuthentication', name: 'modes', ...shop })).metadata[
        'resourceVersion'
      ];
    const written = await version();
    await writer.put({ apiVersion: 'v1', kind: 'Node', metadata: { name: 'node-9' } });
    await writer.put(policy('PeerAuthentication', 'other', only('other')));
    await expectConditions('PeerAuthentication', 'other', expected);
    expect(await version()).toBe(written);
  });

  it('are put right when somebody else writes nonsense into them', async () => {
    await start();
    await writer.put(policy('WorkloadEntry', 'vm', { address: '10.0.0.9' }));
    const expected = ['Accepted=True', 'Conflicted=False', 'Programmed=True'];
    await expectConditions('WorkloadEntry', 'vm', expected);
    const patch = JSON.stringify({ status: { conditions: null, observedGeneration: 99 } });
    const args = [
      'patch',
      'workloadentry',
      'vm',
      '-n',
      'shop',
      '--subresource=status',
      '--type=merge',
      '-p',
      patch,
    ];
    await server.kubectlOk(args);
    await expectConditions('WorkloadEntry', 'vm', expected);
  });

  it('say so of an object that only the API server accepts, and its last good version stays', async () => {
    await start();
    await writer.put(policy('WorkloadEntry', 'newer', { address: '10.0.0.8' }));
    const good = ['Accepted=True', 'Conflicted=False', 'Programmed=True'];
    await expectConditions('WorkloadEntry', 'newer', good);
    const at = '/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/later';
    const patch = async (op: object): Promise<void> => {
      const args = ['patch', 'crd', 'workloadentries.weft.dev', '--type=json', '-p', JSON.stringify([op])];
      await server.kubectlOk(args);
    };
    await patch({ op: 'add', path: at, value: { type: 'string' } });
    const later = policy('WorkloadEntry', 'newer', { address: '10.0.0.8', later: 'x' });
    // A changed definition takes a moment to count.
    await expect
      .poll(
        () =>
          writer.put(later).then(
            async () =>
              (
                await writer.get<{ spec: object }>({
                  apiVersion: own,
                  kind: 'WorkloadEntry',
                  name: 'newer',
                  ...shop,
                })
              ).spec,
          ),
        { timeout: 20_000 },
      )
      .toHaveProperty('later');
    await expectConditions('WorkloadEntry', 'newer', [
      'Accepted=False',
      'Conflicted=False',
      'Programmed=False',
    ]);
    const [accepted] = await conditions('WorkloadEntry', 'newer');
    expect(accepted?.message).toContain('spec.later: Unknown field "later"');
    expect(accepted?.observedGeneration).toBe(2);
    await patch({ op: 'remove', path: at });
    await writer.put(policy('WorkloadEntry', 'newer', { address: '10.0.0.7' }));
    await expectConditions('WorkloadEntry', 'newer', good);
  });

  it('come at most once a second for each object, however fast it changes', async () => {
    await start();
    const path = '/weft.dev/v1alpha1/namespaces/shop/peerauthentications/busy/status';
    for (let i = 0; i < 20; i++) {
      await writer.put(
        policy('PeerAuthentication', 'busy', {
          ...only('busy'),
          mtls: { mode: i % 2 === 0 ? 'STRICT' : 'PERMISSIVE' },
        }),
      );
    }
    await expectConditions('PeerAuthentication', 'busy', [
      'Accepted=True',
      'Conflicted=False',
      'Programmed=True',
    ]);
    await expect
      .poll(async () => (await conditions('PeerAuthentication', 'busy'))[0]?.observedGeneration, {
        timeout: 10_000,
      })
      .toBe(20);
    const times = (await auditLines())
      .filter(({ verb, requestURI }) => verb === 'patch' && requestURI.includes(path))
      .map(({ requestReceivedTimestamp }) => Date.parse(requestReceivedTimestamp));
    const gaps = times.slice(1).map((time, i) => time - (times[i] as number));
    expect(times.length).toBeGreaterThan(0);
    expect(gaps.filter((gap) => gap < 950)).toEqual([]);
  });
});

describe('events', () => {
  it('tell what an operator must see, once, on the object it is about', async () => {
    await start();
    await writer.put({
      apiVersion: 'v1',
      kind: 'Namespace',
      metadata: { name: 'typo', labels: { 'weft.dev/mode': 'ambiant' } },
    });
    const describe = () => server.kubectlOk(['describe', 'namespace', 'typo']);
    const events = () =>
      server.kubectlOk(['get', 'events', '-A', '--field-selector', 'reason=UnknownMode', '-o', 'name']);
    await expect.poll(events, { timeout: 20_000 }).toMatch(/^event\/typo\.[0-9a-f]+\n$/);
    expect(await server.kubectlOk(['get', 'events', '-A'])).toContain(
      '"ambiant" is neither "ambient" nor "none"',
    );
    expect(await describe()).toContain('ambiant');
    await start();
    await running[0]?.controller.stop();
    await expect.poll(leader, { timeout: 30_000 }).not.toBe('');
    expect((await events()).trim().split('\n')).toHaveLength(1);
  });
});

describe('replicas', () => {
  it('elect one leader, and another as soon as that one stops', async () => {
    const first = await start();
    await expect.poll(leader, { timeout: 20_000 }).not.toBe('');
    const before = await leader();
    await start();
    await first.controller.stop();
    await expect
      .poll(async () => (await leader()) !== '' && (await leader()) !== before, { timeout: 20_000 })
      .toBe(true);
    await writer.put(policy('PeerAuthentication', 'after', only('after')));
    await expectConditions('PeerAuthentication', 'after', [
      'Accepted=True',
      'Conflicted=False',
      'Programmed=True',
    ]);
  });

  it('that start at once share one root, kept in a secret', async () => {
    await client
      .request({ method: 'DELETE', path: '/api/v1/namespaces/weft-system/secrets/weft-ca' })
      .catch(() => {});
    const [first, second] = await Promise.all([start(), start()]);
    expect(await rootOf(second)).toBe(await rootOf(first));
    const third = await start();
    expect(await rootOf(third)).toBe(await rootOf(first));
  });
});

describe('callers', () => {
  it('get certificates for pods of the node their token is bound to', async () => {
    const replica = await start();
    const chain = await sign(replica, await token({}));
    expect(chain[0]).toContain('BEGIN CERTIFICATE');
  });

  it.each([
    ['that expired five minutes ago', -300, /Token refused: token-expired$/],
    ['that is valid in five minutes', 300, /Token refused: token-unknown$/],
  ])(
    'whose clock is wrong are told with a token %s, and served with a good one',
    async (_what, shift, said) => {
      const replica = await start();
      const good = await token({});
      await expect(sign(replica, await shifted(good, shift))).rejects.toThrow(said);
      expect(await refusals(replica)).toBe(1);
      expect((await sign(replica, good))[0]).toContain('BEGIN CERTIFICATE');
    },
  );

  it('may still bring a join token', async () => {
    const replica = await start();
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
    const replica = await start();
    await expect(sign(replica, await token(wish))).rejects.toThrow(/token/i);
  });

  it('are refused with a token that somebody else signed, and with none', async () => {
    const replica = await start();
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
    const replica = await start();
    const bearer = await token({});
    await sign(replica, bearer);
    await server.stopServer();
    await server.stopEtcd();
    try {
      expect((await sign(replica, bearer))[0]).toContain('BEGIN CERTIFICATE');
    } finally {
      server.startEtcd();
      await server.startServer();
    }
  });

  it('are refused once their service account was deleted', async () => {
    await writer.put({
      apiVersion: 'v1',
      kind: 'ServiceAccount',
      metadata: { name: 'ztunnel', namespace: 'weft-system' },
    });
    await writer.put({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: 'short', namespace: 'weft-system' },
      spec: { nodeName: 'node-1', serviceAccountName: 'ztunnel', containers: [{ name: 'main', image: 'x' }] },
    });
    const bearer = await token({ account: 'ztunnel', pod: 'short' });
    await writer.delete({
      apiVersion: 'v1',
      kind: 'ServiceAccount',
      name: 'ztunnel',
      namespace: 'weft-system',
    });
    const replica = await start();
    await expect(sign(replica, bearer)).rejects.toThrow(/token/i);
  });
});

async function token({
  audience = 'weft',
  account = 'weft-ztunnel',
  namespace = 'weft-system',
  pod = 'ztunnel-1',
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
  return (await server.kubectlOk(args)).trim();
}

/** The same claims, in a life of ten minutes that began (or begins) so many seconds from now; signed by the cluster. */
async function shifted(bearer: string, seconds: number): Promise<string> {
  const [, payload = ''] = bearer.split('.');
  const now = Math.floor(Date.now() / 1000);
  const nbf = seconds > 0 ? now + seconds : now + seconds - 600;
  const claims = JSON.parse(Buffer.from(payload, 'base64url').toString('utf8')) as object;
  const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const text = `${encode({ alg: 'ES256' })}.${encode({ ...claims, iat: nbf, nbf, exp: nbf + 600 })}`;
  const key = await readFile(server.keys.path('sa.key'), 'utf8');
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
    const spiffeId = formatSpiffeId(identity);
    const { csrPem } = await createCsr(identity);
    return await signer.sign(csrPem, { validitySeconds: 3_600, impersonate: spiffeId });
  } finally {
    signer.close();
  }
}

async function rootOf({ state }: Running): Promise<string> {
  return await readFile(rootCertificatePath(state), 'utf8');
}

async function leader(): Promise<string> {
  const path = '/apis/coordination.k8s.io/v1/namespaces/weft-system/leases/weft-controller';
  const lease = await client.request<{ spec?: { holderIdentity?: string } }>({ path }).catch(() => undefined);
  return lease?.spec?.holderIdentity ?? '';
}

interface AuditLine {
  readonly verb: string;
  readonly requestURI: string;
  readonly requestReceivedTimestamp: string;
}

async function auditLines(): Promise<readonly AuditLine[]> {
  const text = await readFile(server.auditLog, 'utf8');
  return text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as AuditLine);
}
