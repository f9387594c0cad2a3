// The cluster source against a real API server that comes late, goes away, refuses, forgets and talks nonsense.

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { KubeClient } from '../../controller/kubernetes/kube-client.ts';
import type { Resources } from '../../controller/resources/resources.ts';
import { ClusterSource, type ClusterSourceOptions } from '../../controller/source/cluster-source.ts';
import { systemClock } from '../../mesh/runtime/clock.ts';
import { createLogger } from '../../mesh/runtime/logger.ts';
import { ApiServer } from './api-server.ts';
import { applyDefinitions, applyOwnDefinitions, ownDefinitions } from './definitions.ts';
import { FaultProxy } from './fault-proxy.ts';
import { gatewayCrds } from './isolation.ts';
import { ObjectWriter } from './object-writer.ts';
import { ResourceRecorder } from './resource-recorder.ts';

const lines: string[] = [];
const logger = createLogger({
  component: 'test',
  level: 'info',
  destination: { write: (line: string) => void lines.push(line) },
});

let server: ApiServer;
let admin: KubeClient;
let writer: ObjectWriter;

beforeAll(async () => {
  server = await ApiServer.start();
  admin = KubeClient.fromFile(server.kubeconfig, { clock: systemClock });
  writer = new ObjectWriter(admin);
});
afterAll(async () => {
  admin.close();
  await server.close();
});

const cleanups: (() => Promise<unknown> | void)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
  lines.length = 0;
});

interface Opened {
  readonly source: ClusterSource;
  readonly recorder: ResourceRecorder;
  readonly started: Promise<void>;
}

function open(kubeconfig: string, watch?: ClusterSourceOptions['watch']): Opened {
  const client = KubeClient.fromFile(kubeconfig, { clock: systemClock });
  const recorder = new ResourceRecorder();
  const options = { client, clock: systemClock, logger, ...(watch === undefined ? {} : { watch }) };
  const source = new ClusterSource(options, recorder);
  cleanups.push(async () => {
    await source.close();
    client.close();
  });
  return { source, recorder, started: source.start() };
}

async function openProxied(watch?: ClusterSourceOptions['watch']): Promise<Opened & { proxy: FaultProxy }> {
  const proxy = await FaultProxy.start(server);
  cleanups.push(() => proxy.close());
  return { proxy, ...open(await proxy.kubeconfig(), watch) };
}

let serial = 0;
async function addNode(): Promise<string> {
  serial += 1;
  const name = `node-${serial}`;
  await writer.put({ apiVersion: 'v1', kind: 'Node', metadata: { name } });
  return name;
}
/** Etcd keeps nothing that is older than now. */
async function compact({ etcdUrl }: ApiServer): Promise<void> {
  const ask = async (path: string, body: object): Promise<{ header: { revision: string } }> => {
    const response = await fetch(`${etcdUrl}/v3/kv/${path}`, { method: 'POST', body: JSON.stringify(body) });
    return (await response.json()) as { header: { revision: string } };
  };
  const key = Buffer.from('/registry').toString('base64');
  const { revision } = (await ask('range', { key })).header;
  const answer = await ask('compaction', { revision, physical: true });
  expect(answer.header.revision).toBe(revision);
}

const tokenReader = `
apiVersion: v1
kind: ServiceAccount
metadata: { name: default, namespace: default }
---
apiVersion: v1
kind: ServiceAccount
metadata: { name: reader, namespace: default }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: { name: token-reader }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin }
subjects: [{ kind: ServiceAccount, name: reader, namespace: default }]
---
apiVersion: v1
kind: Pod
metadata: { name: first, namespace: default }
spec: { serviceAccountName: reader, containers: [{ name: main, image: x }] }
---
apiVersion: v1
kind: Pod
metadata: { name: second, namespace: default }
spec: { serviceAccountName: reader, containers: [{ name: main, image: x }] }
`;

const hasNode = (name: string) => (resources: Resources) => resources.Node.has(name);

describe('ClusterSource', () => {
  it('starts without any of our definitions and picks them up when they come and go', async () => {
    const { source, recorder, started } = open(server.kubeconfig);
    await started;
    expect(source.served('AuthorizationPolicy')).toBeUndefined();
    await applyOwnDefinitions(server);
    const object = 'apiVersion: weft.dev/v1alpha1\nkind: MeshConfig\nmetadata: { name: default }\nspec: {}\n';
    await server.apply(object);
    await recorder.until('the object of a new kind', ({ MeshConfig }) => MeshConfig.has('default'));
    await server.kubectlOk(['delete', '-f', ownDefinitions, '--wait=true']);
    await recorder.until('the end of the kind', ({ MeshConfig }) => !MeshConfig.has('default'));
    await applyOwnDefinitions(server);
    await server.apply(object);
    await recorder.until('the object again', ({ MeshConfig }) => MeshConfig.has('default'));
    expect(recorder.problems).toEqual([]);
  });

  it.skipIf(gatewayCrds() === undefined)('reads Gateway API in the versions that are installed', async () => {
    const { source, recorder, started } = open(server.kubeconfig);
    await started;
    const folder = gatewayCrds() as string;
    await applyDefinitions(server, join(folder, 'standard'));
    await server.apply(
      'apiVersion: v1\nkind: Namespace\nmetadata: { name: routes }\n---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: { name: web, namespace: routes }\nspec: { hostnames: [web.example] }\n',
    );
    await recorder.until('the route', ({ HTTPRoute }) => HTTPRoute.has('routes/web'));
    expect(recorder.resources.HTTPRoute.get('routes/web')?.spec['hostnames']).toEqual(['web.example']);
    expect(source.served('HTTPRoute')?.apiVersion).toBe('gateway.networking.k8s.io/v1');
    await applyDefinitions(server, join(folder, 'experimental'));
    await server.apply(
      'apiVersion: gateway.networking.k8s.io/v1alpha2\nkind: TCPRoute\nmetadata: { name: db, namespace: routes }\nspec: { rules: [{ backendRefs: [{ name: db, port: 5432 }] }] }\n',
    );
    await recorder.until('the experimental route', ({ TCPRoute }) => TCPRoute.has('routes/db'));
  });

  it('reads long lists in pages', async () => {
    for (let i = 0; i < 7; i++) await addNode();
    const { proxy, recorder, started } = await openProxied({ pageSize: 2 });
    await started;
    expect(recorder.resources.Node.size).toBeGreaterThanOrEqual(7);
    const pages = proxy
      .takeSeen()
      .filter((path) => path.startsWith('/api/v1/nodes?') && !path.includes('watch'));
    expect(pages.length).toBeGreaterThanOrEqual(4);
  });

  it('goes on where it was after the API server and etcd were away, and keeps everything meanwhile', async () => {
    const before = await addNode();
    const { recorder, started } = open(server.kubeconfig, { maxDelayMs: 2_000 });
    await started;
    await server.stopServer();
    await server.stopEtcd();
    expect(recorder.resources.Node.has(before)).toBe(true);
    server.startEtcd();
    await server.startServer();
    await recorder.until('a node after the outage', hasNode(await addNode()));
    expect(recorder.resources.Node.has(before)).toBe(true);
    expect(lines.filter((line) => line.includes('does not answer'))).toHaveLength(1);
    const answers = (): number => lines.filter((line) => line.includes('answers again')).length;
    await expect.poll(answers, { timeout: 20_000 }).toBe(1);
  });

  it('waits for an API server that is not there yet', async () => {
    await server.stopServer();
    const { recorder, started } = open(server.kubeconfig);
    await server.startServer();
    await started;
    expect(recorder.resources.Namespace.has('kube-system')).toBe(true);
  });

  it('lists again when its place in the history is gone', async () => {
    const { proxy, recorder, started } = await openProxied();
    await started;
    const status = { kind: 'Status', code: 410, reason: 'Expired', message: 'too old resource version' };
    proxy.takeSeen();
    expect(proxy.inject('/nodes?', `${JSON.stringify({ type: 'ERROR', object: status })}\n`)).toBe(1);
    await recorder.until('a node after the new list', hasNode(await addNode()));
    expect(proxy.takeSeen().some((path) => path.startsWith('/api/v1/nodes?limit'))).toBe(true);
    expect(recorder.problems).toEqual([]);
  });

  it('lists again when etcd has forgotten where its watch was', async () => {
    // Without its cache the API server asks etcd for the history.
    const direct = await ApiServer.start({ flags: ['--watch-cache=false'] });
    cleanups.push(() => direct.close());
    const client = KubeClient.fromFile(direct.kubeconfig, { clock: systemClock });
    cleanups.push(() => client.close());
    const put = (name: string) =>
      new ObjectWriter(client).put({ apiVersion: 'v1', kind: 'Node', metadata: { name } });
    await put('gone');
    const proxy = await FaultProxy.start(direct);
    cleanups.push(() => proxy.close());
    const { recorder, started } = open(await proxy.kubeconfig());
    await started;
    expect(recorder.resources.Node.has('gone')).toBe(true);
    proxy.setFault((path) => (path.includes('/nodes?') ? { status: 503 } : undefined));
    expect(proxy.inject('/nodes?', '', { cut: true })).toBe(1);
    await new ObjectWriter(client).delete({ apiVersion: 'v1', kind: 'Node', name: 'gone' });
    await put('new');
    await compact(direct);
    proxy.takeSeen();
    proxy.setFault(undefined);
    await recorder.until('what happened meanwhile', ({ Node }) => Node.has('new') && !Node.has('gone'));
    const seen = proxy.takeSeen().filter((path) => path.startsWith('/api/v1/nodes?'));
    expect(seen.some((path) => !path.includes('watch=1'))).toBe(true);
    // Others went on where they were.
    expect(recorder.problems).toEqual([]);
  });

  it('goes on with a token that was put in the place of one that is no longer valid', async () => {
    await server.apply(tokenReader);
    const kubeconfig = join(server.directory, 'token-reader.kubeconfig');
    const tokenFile = join(server.directory, 'token');
    const issue = async (pod: string): Promise<void> => {
      const bound = ['--bound-object-kind=Pod', `--bound-object-name=${pod}`];
      await writeFile(
        tokenFile,
        await server.kubectlOk(['create', 'token', 'reader', '--duration=10m', ...bound]),
      );
    };
    await issue('first');
    const cluster = { server: server.url, 'certificate-authority': server.keys.path('ca.crt') };
    const config = {
      'current-context': 'a',
      clusters: [{ name: 'a', cluster }],
      users: [{ name: 'a', user: { tokenFile } }],
      contexts: [{ name: 'a', context: { cluster: 'a', user: 'a' } }],
    };
    await writeFile(kubeconfig, JSON.stringify(config));
    const { source, recorder, started } = open(kubeconfig);
    await started;
    // A token is valid as long as the pod it is bound to; watches that run are not asked again.
    await server.kubectlOk(['delete', 'pod', 'first', '--grace-period=0', '--force']);
    await server.stopServer();
    await server.startServer();
    const codes = (): boolean => source.watches().some(({ failure }) => failure?.includes('(401)') === true);
    await expect.poll(codes, { timeout: 20_000 }).toBe(true);
    expect(lines.join('')).toContain('UNAUTHENTICATED');
    await issue('second');
    await recorder.until('a node afterwards', hasNode(await addNode()));
    await expect.poll(codes, { timeout: 20_000 }).toBe(false);
  });

  it.each([
    ['garbage', 'this is no JSON\n', false],
    ['an event that makes no sense', '{"type":"PARTY","object":{}}\n', false],
    ['an event without an object', '{"type":"ADDED"}\n', false],
    ['half an event before it ends', '{"type":"ADDED","object":{"metad', true],
    ['nothing more before it ends', '', true],
  ])('recovers from a watch that sends %s', async (_what, text, cut) => {
    const { proxy, recorder, started } = await openProxied();
    await started;
    expect(proxy.inject('/nodes?', text, { cut })).toBe(1);
    await recorder.until('a node afterwards', hasNode(await addNode()));
  });

  it('notices a watch that stalls', async () => {
    const { proxy, recorder, started } = await openProxied({ stallMs: 1_500 });
    await started;
    proxy.setSilent(true);
    const node = await addNode();
    proxy.takeSeen();
    const watchedAgain = () => proxy.takeSeen().some((path) => path.includes('/nodes?watch=1'));
    await expect.poll(watchedAgain, { timeout: 20_000 }).toBe(true);
    expect(recorder.resources.Node.has(node)).toBe(false);
    proxy.setSilent(false);
    await recorder.until('what the stalled watch did not tell', hasNode(node));
  });

  it.each([
    ['too many requests', { status: 429, headers: { 'retry-after': '1' } }],
    ['an overloaded server', { status: 503, body: 'overloaded' }],
    ['an internal error', { status: 500, body: '{"kind":"Status","message":"boom"}' }],
    ['an answer that is no JSON', { status: 200, body: '<html>' }],
  ])('keeps what is known through %s and recovers', async (_what, refusal) => {
    const known = await addNode();
    const { proxy, recorder, started } = await openProxied();
    await started;
    proxy.setFault((path) => (path.includes('/nodes?') ? refusal : undefined));
    proxy.inject('/nodes?', '', { cut: true });
    const later = await addNode();
    // Others are unharmed meanwhile.
    const other = `other-${later}`;
    await writer.put({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: other } });
    await recorder.until('a namespace', ({ Namespace }) => Namespace.has(other));
    expect(recorder.resources.Node.has(known)).toBe(true);
    expect(recorder.resources.Node.has(later)).toBe(false);
    proxy.setFault(undefined);
    await recorder.until('the node', hasNode(later));
  });

  it('does not start with half a picture', async () => {
    const { proxy, recorder, started } = await openProxied();
    proxy.setFault((path) => (path.includes('/pods?') ? { status: 503 } : undefined));
    let resolved = false;
    void started.then(() => {
      resolved = true;
    });
    while (!proxy.takeSeen().some((path) => path.includes('/pods?'))) await addNode();
    expect(resolved).toBe(false);
    expect(recorder.updates).toBe(0);
    proxy.setFault(undefined);
    await started;
    expect(recorder.updates).toBe(1);
  });

  it('survives that its rights are taken away, says which, and recovers when they are back', async () => {
    const role = (kinds: string): string =>
      `apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: { name: reader }\nrules:\n- { apiGroups: ['*'], resources: [${kinds}], verbs: [get, list, watch] }\n`;
    const binding =
      'apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\nmetadata: { name: reader }\nroleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: reader }\nsubjects: [{ apiGroup: rbac.authorization.k8s.io, kind: User, name: reader }]\n';
    await server.apply(`${role("'*'")}---\n${binding}`);
    const known = await addNode();
    const { recorder, started, source } = open(await server.kubeconfigOf({ user: 'reader' }), {
      maxDelayMs: 2_000,
    });
    await started;
    const all =
      'namespaces, pods, services, serviceaccounts, endpointslices, customresourcedefinitions, authorizationpolicies, peerauthentications, requestauthentications, trafficpolicies, serviceentries, workloadentries, meshconfigs, gatewayclasses, gateways, httproutes, grpcroutes, tcproutes, tlsroutes, referencegrants';
    await server.apply(role(all));
    // A watch that runs is not ended by it; a new one is refused.
    await server.stopServer();
    await server.startServer();
    const later = await addNode();
    const failing = (): boolean =>
      source.watches().some(({ kind, failure }) => kind === 'Node' && failure !== undefined);
    await expect.poll(failing, { timeout: 20_000 }).toBe(true);
    expect(lines.join('')).toContain('User \\"reader\\" cannot');
    expect(recorder.resources.Node.has(known)).toBe(true);
    await recorder.until(
      'a problem for the operator',
      (_resources, problems) => problems.some(({ message }) => message.startsWith('Watch of Node fails')),
      30_000,
    );
    await server.apply(role("'*'"));
    await recorder.until('the node', hasNode(later), 60_000);
    await recorder.until('no problem', (_resources, problems) => problems.length === 0);
  });
});
