// `weft check` against a real API server: what it finds in a cluster without a mesh, with one, and as a user who may read
// little. Nodes and their reports are made up.

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runChecks } from '../../cli/check/all-checks.ts';
import type { CheckResult } from '../../cli/check/finding.ts';
import { gatherFacts, readWantedDefinitions } from '../../cli/check/gather-facts.ts';
import { nodeState, page } from '../../cli/check/testing/healthy-facts.ts';
import { KubeClient } from '../../controller/kubernetes/kube-client.ts';
import { systemClock } from '../../mesh/runtime/clock.ts';
import { ApiServer } from './api-server.ts';
import { applyInstallation, printInstallation } from './installation.ts';
import { ObjectWriter } from './object-writer.ts';
import { weft } from './weft-command.ts';

let server: ApiServer;
let client: KubeClient;
let writer: ObjectWriter;

beforeAll(async () => {
  server = await ApiServer.start();
  client = KubeClient.fromFile(server.kubeconfig, { clock: systemClock });
  writer = new ObjectWriter(client);
});
afterAll(async () => {
  client?.close();
  await server?.close();
});

async function look(): Promise<Readonly<Record<string, CheckResult>>> {
  const facts = await gatherFacts({
    client,
    namespace: 'weft-system',
    now: () => Date.now(),
    readPage: async () => JSON.stringify(page([nodeState('node-1')], { now: Date.now() })),
    wantedDefinitions: readWantedDefinitions(),
    signal: new AbortController().signal,
  });
  return Object.fromEntries(runChecks(facts).map((result) => [result.group, result]));
}

const whats = (result: CheckResult | undefined) =>
  result?.findings.map(({ where, what }) => `${where} ${what}`);

describe('weft check', () => {
  it('ends with 1 in a cluster without a mesh, and says how to install it', async () => {
    const { status, out } = await weft(server, 'check');
    expect(status).toBe(1);
    expect(out).toContain('✔ API server');
    expect(out).toMatch(/✖ Definitions[^]*meshconfigs.weft.dev: is missing/);
    expect(out).toContain('weft install --image IMAGE');
  });

  it('finds the definitions of an installation as they should be, and every difference', async () => {
    await applyInstallation(server, await printInstallation('--image', 'registry.example/weft:1'));
    await server.kubectlOk(['wait', '--for=condition=Established', '--timeout=30s', 'crd', '--all']);
    expect((await look())['Definitions']?.findings).toEqual([]);
    const older = '[{"op":"remove","path":"/spec/versions/0/additionalPrinterColumns"}]';
    await server.kubectlOk(['patch', 'crd', 'meshconfigs.weft.dev', '--type=json', '-p', older]);
    expect(whats((await look())['Definitions'])).toEqual(['meshconfigs.weft.dev is of another version']);
    await server.apply((await printInstallation('--image', 'registry.example/weft:1')).text);
    expect((await look())['Definitions']?.findings).toEqual([]);
  });

  it('has nothing to say but of the page when everything runs', async () => {
    await writer.apply(cluster);
    const deployment = { replicas: 1, updatedReplicas: 1, readyReplicas: 1, availableReplicas: 1 };
    await patchStatus('deployment', 'weft-controller', deployment);
    const daemonSet = { desiredNumberScheduled: 1, updatedNumberScheduled: 1, currentNumberScheduled: 1 };
    await patchStatus('daemonset', 'weft-ztunnel', { ...daemonSet, numberMisscheduled: 0, numberReady: 1 });
    const roots = (await look())['Certificates'];
    expect(whats(roots)).toEqual(['configmap weft-system/weft-roots is missing']);
    const others = Object.values(await look()).filter(({ group }) => group !== 'Certificates');
    expect(others.flatMap(({ findings }) => findings)).toEqual([]);
    expect(others.map(({ group }) => group)).toContain('Network policies');
    const { status, out } = await weft(server, 'check');
    expect(status).toBe(1);
    expect(out).toMatch(/✖ Controller[^]*its page about the nodes could not be read/);
  });

  it('finds a NetworkPolicy that keeps the port of the mesh out, and its patch mends it', async () => {
    await writer.apply(policy);
    const [finding] = (await look())['Network policies']?.findings ?? [];
    expect(finding?.what).toBe('does not let TCP 15008 in: from shop/client to shop/web');
    const [, patch = ''] = /-p '(.*)'$/.exec(finding?.fix ?? '') ?? [];
    await server.kubectlOk(['-n', 'shop', 'patch', 'networkpolicy', 'web', '--type=json', '-p', patch]);
    expect((await look())['Network policies']?.findings).toEqual([]);
  });

  it('prints JSON for programs', async () => {
    const { out } = await weft(server, 'check', '--output', 'json');
    const { ok, checks } = JSON.parse(out) as { ok: boolean; checks: { group: string }[] };
    expect(ok).toBe(false);
    expect(checks.map(({ group }) => group)).toContain('Definitions');
  });

  it('says what a user may not read, and how to ask', async () => {
    const kubeconfig = await server.kubeconfigOf({ user: 'eve', groups: [] });
    const { status, out } = await weft({ kubeconfig }, 'check');
    expect(status).toBe(1);
    expect(out).toContain('list pods --all-namespaces: this user may not');
    expect(out).not.toContain('is missing');
  });

  it('ends with one line where no cluster answers', async () => {
    const kubeconfig = await server.keys.kubeconfig({ user: 'admin', groups: [] }, 'https://127.0.0.1:1');
    const { status, out, err } = await weft({ kubeconfig }, 'check');
    expect([status, out]).toEqual([1, '']);
    expect(err).toMatch(/^error: Kubernetes API did not answer .*ECONNREFUSED.*is the cluster up/);
  });

  it('waits no longer than it was told to', async () => {
    const { status, err } = await weft(server, 'check', '--wait', '1');
    expect([status, err]).toEqual([1, '']);
  });

  it.each([
    [['--context', 'other'], /No context "other"/],
    [['--wait', 'soon'], /whole number of seconds/],
    [['--output', 'xml'], /Allowed choices are text, json/],
  ])('refuses %j with 64', async (args, message) => {
    const { status, err } = await weft(server, 'check', ...args);
    expect(status).toBe(64);
    expect(err).toMatch(message);
  });
});

async function patchStatus(kind: string, name: string, status: object): Promise<void> {
  const args = ['patch', kind, name, '-n', 'weft-system', '--subresource=status', '--type=merge'];
  const path = ['get', kind, name, '-n', 'weft-system', '-o', 'jsonpath={.metadata.generation}'];
  const observedGeneration = Number(await server.kubectlOk(path));
  await server.kubectlOk([...args, '-p', JSON.stringify({ status: { ...status, observedGeneration } })]);
}

const ready = 'phase: Running, conditions: [{ type: Ready, status: "True" }]';
const cluster = `
apiVersion: v1
kind: Node
metadata: { name: node-1, labels: { kubernetes.io/os: linux } }
status: { conditions: [{ type: Ready, status: "True" }] }
---
apiVersion: v1
kind: Namespace
metadata: { name: shop, labels: { weft.dev/mode: ambient } }
---
apiVersion: v1
kind: ServiceAccount
metadata: { name: default, namespace: shop }
---
apiVersion: v1
kind: Pod
metadata: { name: weft-ztunnel-1, namespace: weft-system, labels: { app.kubernetes.io/name: weft-ztunnel } }
spec: { nodeName: node-1, serviceAccountName: weft-ztunnel, containers: [{ name: main, image: x }] }
status: { ${ready} }
---
apiVersion: v1
kind: Pod
metadata: { name: weft-controller-1, namespace: weft-system, labels: { app.kubernetes.io/name: weft-controller } }
spec: { nodeName: node-1, serviceAccountName: weft-controller, containers: [{ name: main, image: x }] }
status: { ${ready} }
---
apiVersion: v1
kind: Pod
metadata: { name: client, namespace: shop, labels: { app: client } }
spec: { nodeName: node-1, containers: [{ name: main, image: x }] }
status: { ${ready} }
---
apiVersion: v1
kind: Pod
metadata: { name: web, namespace: shop, labels: { app: web } }
spec: { nodeName: node-1, containers: [{ name: main, image: x, ports: [{ name: http, containerPort: 8080 }] }] }
status: { ${ready} }
`;

const policy = `
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: web, namespace: shop }
spec:
  podSelector: { matchLabels: { app: web } }
  ingress: [{ from: [{ podSelector: { matchLabels: { app: client } } }], ports: [{ port: http }] }]
`;
