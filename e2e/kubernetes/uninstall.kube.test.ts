// `weft uninstall` on a real API server with Kubernetes' own garbage collector: nothing of the mesh is left, nothing of
// others is gone, and it goes on where it was held up. The one node is made up, and away.

import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { discoverAll, listObjects, nameOf } from '../../cli/uninstall/kube-objects.ts';
import { KubeClient } from '../../controller/kubernetes/kube-client.ts';
import { systemClock } from '../../mesh/runtime/clock.ts';
import { ApiServer } from './api-server.ts';
import { applyDefinitions } from './definitions.ts';
import { applyInstallation, printInstallation } from './installation.ts';
import { gatewayCrds } from './isolation.ts';
import { ObjectWriter } from './object-writer.ts';
import { weft } from './weft-command.ts';

let server: ApiServer;
let client: KubeClient;
let writer: ObjectWriter;
let before: readonly string[];

beforeAll(async () => {
  server = await ApiServer.start({ controllers: ['garbage-collector-controller', 'namespace-controller'] });
  client = KubeClient.fromFile(server.kubeconfig, { clock: systemClock });
  writer = new ObjectWriter(client);
  const folder = gatewayCrds();
  if (folder !== undefined) await applyDefinitions(server, join(folder, 'experimental'));
  await writer.apply(others);
  if (folder !== undefined) await writer.apply(gateway);
  before = await everything();
});
afterAll(async () => {
  client?.close();
  await server?.close();
});

/** Names of all objects there are, but for what Kubernetes makes by itself as time goes by. */
async function everything(): Promise<readonly string[]> {
  const { kinds } = await discoverAll(client);
  const stored = kinds.filter(({ kind }) => !['Event', 'Lease', 'APIService'].includes(kind));
  const found = await Promise.all(stored.map((kind) => listObjects(client, kind, {})));
  return found.flat().map(nameOf).toSorted();
}

async function install(): Promise<void> {
  await applyInstallation(server, await printInstallation('--ha', '--image', 'registry.example/weft:1'));
  await server.kubectlOk(['wait', '--for=condition=Established', '--timeout=30s', 'crd', '--all']);
  await writer.apply(made);
  if (gatewayCrds() === undefined) return;
  const uid = await server.kubectlOk([
    'get',
    'gateway',
    'gate',
    '-n',
    'shop',
    '-o',
    'jsonpath={.metadata.uid}',
  ]);
  await writer.apply(waypoint.replaceAll('UID', uid));
}

describe('weft uninstall', () => {
  it('says what it would remove, and removes nothing, with --dry-run', async () => {
    await install();
    const installed = await everything();
    const { status, out } = await weft(server, 'uninstall', '--dry-run', '--crds');
    expect(status).toBe(0);
    expect(out).toContain('deployment.apps weft-system/weft-controller');
    expect(out).toContain('secret weft-system/weft-ca');
    expect(out).toContain('attention: shop/web will not be ready');
    expect(out).toContain('7 definitions of our kinds, with 1 object of them');
    expect(out).toMatch(/stays:[^]*labels of the mesh on namespaces \/shop \(--labels removes them\)/);
    expect(await everything()).toEqual(installed);
  });

  it('removes nothing that nobody confirmed', async () => {
    const { status, err } = await weft(server, 'uninstall');
    expect(status).toBe(64);
    expect(err).toContain('confirm with --yes');
  });

  it('keeps what cleans a node that is away, and names the node', async () => {
    const { status, out } = await weft(server, 'uninstall', '--yes');
    expect(status).toBe(1);
    expect(out).toContain('node-1 is not clean (the node is not Ready)');
    expect(out).toContain('/sys/fs/bpf/weft');
    expect(out).toContain('not certain (no replica of the controller is ready)');
    const labels = ['get', 'namespace', 'weft-system', '-o', 'jsonpath={.metadata.labels}'];
    expect(await server.kubectlOk(labels)).not.toContain('enrolment');
    const left = (await everything()).filter((name) => name.includes('weft') && !name.includes('weft.dev'));
    expect(left).toEqual([
      'configmap weft-system/weft-roots',
      'daemonset.apps weft-system/weft-ztunnel',
      'namespace weft-system',
      'serviceaccount weft-system/weft-ztunnel',
    ]);
    const args = 'jsonpath={.spec.template.spec.containers[0].args}';
    expect(
      await server.kubectlOk(['get', 'daemonset', '-n', 'weft-system', 'weft-ztunnel', '-o', args]),
    ).toContain('remove-node-state');
  });

  it('goes on when the node is gone, and leaves what users made', async () => {
    await server.kubectlOk(['delete', 'node', 'node-1']);
    const { status, out } = await weft(server, 'uninstall', '--yes');
    expect([status, out]).toEqual([0, expect.stringContaining('removed namespace weft-system')]);
    const left = (await everything()).filter((name) => !before.includes(name));
    expect(left.filter((name) => !name.includes('customresourcedefinition'))).toEqual([
      'peerauthentication.weft.dev shop/default',
    ]);
    const conditions = ['get', 'pod', 'web', '-n', 'shop', '-o', 'jsonpath={.status.conditions[*].type}'];
    expect(await server.kubectlOk(conditions)).toBe('Ready');
    const label = ['get', 'namespace', 'shop', '-o', 'jsonpath={.metadata.labels.weft\\.dev/mode}'];
    expect(await server.kubectlOk(label)).toBe('ambient');
  });

  it('leaves nothing at all with --crds and --labels, and the namespace of somebody else', async () => {
    await writer.apply(node);
    await server.kubectlOk(['delete', 'node', 'node-1']);
    await install();
    await server.kubectlOk(['create', 'configmap', 'mine', '-n', 'weft-system']);
    const kept = await weft(server, 'uninstall', '--yes', '--crds', '--labels');
    expect(kept.status).toBe(1);
    expect(kept.out).toContain(
      'namespace weft-system stays, as there is more in it: configmap weft-system/mine',
    );
    await server.kubectlOk(['delete', 'configmap', 'mine', '-n', 'weft-system']);
    expect(await weft(server, 'uninstall', '--yes', '--crds', '--labels')).toMatchObject({ status: 0 });
    expect(await everything()).toEqual(before.filter((name) => name !== 'node node-1'));
    const labels = ['get', 'namespace', 'shop', '-o', 'jsonpath={.metadata.labels}'];
    expect(await server.kubectlOk(labels)).not.toContain('weft');
  });

  it('is content where nothing is', async () => {
    expect(await weft(server, 'uninstall', '--yes', '--crds')).toMatchObject({ status: 0 });
  });
});

const node = `
apiVersion: v1
kind: Node
metadata: { name: node-1, labels: { kubernetes.io/os: linux } }
status: { conditions: [{ type: Ready, status: Unknown }] }
`;

/** Nothing of it is the mesh's. */
const others = `${node}
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
kind: ConfigMap
metadata: { name: mine, namespace: shop, labels: { app.kubernetes.io/part-of: weft } }
---
apiVersion: v1
kind: Pod
metadata: { name: web, namespace: shop }
spec: { readinessGates: [{ conditionType: weft.dev/Captured }], containers: [{ name: main, image: x }] }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: { name: other }
`;

/** What a controller makes, and users. */
const made = `
apiVersion: v1
kind: Secret
metadata: { name: weft-ca, namespace: weft-system, labels: { app.kubernetes.io/part-of: weft } }
---
apiVersion: v1
kind: ConfigMap
metadata: { name: weft-roots, namespace: weft-system, labels: { app.kubernetes.io/part-of: weft } }
---
apiVersion: coordination.k8s.io/v1
kind: Lease
metadata: { name: weft-controller, namespace: weft-system }
---
apiVersion: v1
kind: Pod
metadata: { name: web, namespace: shop }
spec: { readinessGates: [{ conditionType: weft.dev/Captured }], containers: [{ name: main, image: x }] }
status: { conditions: [{ type: Ready, status: "True" }, { type: weft.dev/Captured, status: "True" }] }
---
apiVersion: weft.dev/v1alpha1
kind: PeerAuthentication
metadata: { name: default, namespace: shop }
spec: { mtls: { mode: PERMISSIVE } }
`;

const gateway = `
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: gate, namespace: shop }
spec: { gatewayClassName: weft-waypoint, listeners: [{ name: mesh, port: 15008, protocol: HBONE }] }
`;

const waypoint = `
apiVersion: v1
kind: ServiceAccount
metadata:
  name: gate
  namespace: shop
  labels: { app.kubernetes.io/part-of: weft, gateway.networking.k8s.io/gateway-name: gate }
  ownerReferences: [{ apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, name: gate, uid: UID }]
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: gate-weft-roots
  namespace: shop
  labels: { app.kubernetes.io/part-of: weft, gateway.networking.k8s.io/gateway-name: gate }
  ownerReferences: [{ apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, name: gate, uid: UID }]
`;
