// What `weft install` prints, in a real API server: it applies, it settles, and a controller that is nobody but the
// ServiceAccount in it does all its work, with every right that it was given and none besides.

import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ApiServer } from './api-server.ts';
import { ControllerProcess } from './controller-process.ts';
import { applyDefinitions } from './definitions.ts';
import {
  accountKubeconfig,
  applyInstallation,
  auditOf,
  grantedRights,
  type Installation,
  nodeToken,
  printInstallation,
  usedRights,
} from './installation.ts';
import { gatewayCrds } from './isolation.ts';
import { NodeClient } from './node-client.ts';
import type { Manifest, ObjectWriter } from './object-writer.ts';
import { ShopServer, tunnelPod, webIdentity, webService } from './shop-server.ts';

const account = { namespace: 'weft-system', name: 'weft-controller' };
const username = 'system:serviceaccount:weft-system:weft-controller';
/** Not loopback, and nobody else's: the network namespace is this run's own. */
const podAddress = '10.99.0.1';

let shop: ShopServer;
let server: ApiServer;
let writer: ObjectWriter;
let installation: Installation;
let controller: ControllerProcess | undefined;
const nodes: NodeClient[] = [];

beforeAll(async () => {
  execFileSync('ip', ['address', 'replace', `${podAddress}/32`, 'dev', 'lo']);
  shop = await ShopServer.start({ audit: true });
  ({ server, writer } = shop);
  installation = await printInstallation('--ha', '--image', 'registry.example/weft:1');
});
afterAll(async () => {
  for (const node of nodes) node.close();
  await controller?.stop({ now: true });
  await shop?.close();
});

describe('weft install', () => {
  it('prints what kubectl applies, and what a second time changes nothing', async () => {
    const first = await applyInstallation(server, installation);
    expect(first.trim().split('\n')).toHaveLength(installation.objects.length);
    await server.kubectlOk(['wait', '--for=condition=Established', '--timeout=30s', 'crd', '--all']);
    const before = await versions();
    expect(before.size).toBe(installation.objects.length);
    await applyInstallation(server, installation);
    expect(await versions()).toEqual(before);
  });

  it('may be applied with other options later, in a namespace of another name too', async () => {
    const other = await printInstallation('--namespace', 'mesh', '--set', 'listen=::');
    await applyInstallation(server, other);
    const args = ['get', 'deployment', '-n', 'mesh', 'weft-controller', '-o', 'jsonpath={.spec.replicas}'];
    expect(await server.kubectlOk(args)).toBe('1');
    await server.kubectlOk(['delete', 'namespace', 'mesh', '--wait=false']);
    await applyInstallation(server, installation);
  });

  it('makes pods that the strictest Pod Security Standard admits', async () => {
    await writer.put({
      apiVersion: 'v1',
      kind: 'Namespace',
      metadata: { name: 'strict', labels: { 'pod-security.kubernetes.io/enforce': 'restricted' } },
    });
    await writer.put({
      apiVersion: 'v1',
      kind: 'ServiceAccount',
      metadata: { name: 'weft-controller', namespace: 'strict' },
    });
    const deployment = installation.objects.find(({ kind }) => kind === 'Deployment');
    const { template } = (deployment as Manifest)['spec'] as { template: { spec: object } };
    const pod = { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'weft', namespace: 'strict' } };
    await writer.put({ ...pod, spec: template.spec });
    const root = { ...template.spec, securityContext: { runAsUser: 0 } };
    const bad = writer.put({ ...pod, metadata: { ...pod.metadata, name: 'bad' }, spec: root });
    await expect(bad).rejects.toThrow(/violates PodSecurity/);
  });
});

describe('a controller that is the ServiceAccount of the installation', () => {
  it('reads the cluster, serves nodes, signs, writes statuses, lease, events and its root', async () => {
    const folder = gatewayCrds();
    if (folder !== undefined) await applyDefinitions(server, join(folder, 'experimental'));
    await shop.open();
    await writer.put(webService);
    await writer.apply(ownObjects);
    if (folder !== undefined) await writer.apply(gatewayObjects);
    const kubeconfig = await accountKubeconfig(server, account);
    controller = await ControllerProcess.start({ kubeconfig, args: installation.args });
    const node = await connect(controller);
    await expect.poll(() => node.synced && node.hasWorkload('web'), { timeout: 20_000 }).toBe(true);
    const [leaf] = await node.sign(webIdentity);
    expect(leaf).toContain('BEGIN CERTIFICATE');
    await expect(node.sign({ ...webIdentity, serviceAccount: 'other' })).rejects.toThrow(
      /identity|node|pod/i,
    );
    for (const [kind, name] of statuses) {
      const args = ['get', kind, name, '-n', 'shop', '-o', 'jsonpath={.status.conditions[*].type}'];
      await expect
        .poll(() => server.kubectlOk(args), { timeout: 20_000, message: `status of ${kind}` })
        .toContain('Accepted');
    }
    const captured = ['get', 'pod', 'agent', '-n', 'shop', '-o', 'jsonpath={.status.conditions[*].reason}'];
    await expect.poll(() => server.kubectlOk(captured), { timeout: 20_000 }).toContain('HostNetwork');
    if (folder !== undefined) await expectGatewayObjects();
    const events = () => server.kubectlOk(['get', 'events', '-n', 'shop', '-o', 'jsonpath={..message}']);
    await expect.poll(events, { timeout: 20_000 }).toContain('nowhere');
    const lease = [
      'get',
      'lease',
      'weft-controller',
      '-n',
      'weft-system',
      '-o',
      'jsonpath={.spec.renewTime}',
    ];
    const taken = await server.kubectlOk(lease);
    await expect.poll(() => server.kubectlOk(lease), { timeout: 20_000 }).not.toBe(taken);
    const secret = ['get', 'secret', 'weft-ca', '-n', 'weft-system', '-o', 'jsonpath={.data}'];
    expect(await server.kubectlOk(secret)).toContain('ca.json');
  });

  it('answers probes and scrapers from elsewhere, and tells the rest only to its own machine', async () => {
    const ask = async (host: string, path: string, method = 'GET') =>
      (await fetch(`http://${host}:${controller?.adminPort}${path}`, { method })).status;
    expect(await ask(podAddress, '/healthz/ready')).toBe(200);
    expect(await ask(podAddress, '/metrics')).toBe(200);
    for (const path of ['/', '/config_dump', '/nodes', '/statuses', '/certificates', '/debug/problems']) {
      expect([path, await ask(podAddress, path)]).toEqual([path, 403]);
      expect([path, await ask('127.0.0.1', path)]).toEqual([path, 200]);
    }
    expect(await ask(podAddress, '/ca/rotation/start', 'POST')).toBe(403);
  });

  it('uses every right it has', async () => {
    // The log has a watch when it ends.
    await controller?.stop();
    const granted = grantedRights(installation.objects);
    const expected = [...granted].filter((right) => gatewayCrds() !== undefined || !isOfGateways(right));
    expect(expected.length).toBeGreaterThan(20);
    const unused = async () => {
      const used = new Set((await auditOf(server, username)).flatMap(usedRights));
      return expected.filter((right) => !used.has(right));
    };
    await expect.poll(unused, { timeout: 20_000 }).toEqual([]);
  });

  it('is never refused', async () => {
    const lines = await auditOf(server, username);
    expect(lines.length).toBeGreaterThan(0);
    const refused = lines.filter(({ responseStatus }) => [401, 403].includes(responseStatus?.code ?? 0));
    expect(refused.map(({ verb, requestURI }) => `${verb} ${requestURI}`)).toEqual([]);
  });

  it('may do nothing else', async () => {
    const kubeconfig = await accountKubeconfig(server, account);
    for (const args of [
      ['get', 'secrets', '-A'],
      ['get', 'secret', 'other', '-n', 'weft-system'],
      ['get', 'secret', 'weft-ca', '-n', 'shop'],
      ['delete', 'lease', 'weft-controller', '-n', 'weft-system'],
      [
        'patch',
        'authorizationpolicy',
        'lost',
        '-n',
        'shop',
        '--type=merge',
        '-p',
        '{"spec":{"action":"DENY"}}',
      ],
      ['create', 'token', 'weft-controller', '-n', 'weft-system'],
    ]) {
      const { status, stderr } = await server.kubectl(args, { kubeconfig });
      expect([args.join(' '), status]).not.toEqual([args.join(' '), 0]);
      expect(stderr).toMatch(/forbidden/i);
    }
  });
});

/** Statuses of all kinds, the objects of a waypoint, and one of them gone again. */
async function expectGatewayObjects(): Promise<void> {
  const read = (args: readonly string[]) => () => server.kubectlOk(args);
  for (const kind of ['grpcroute', 'httproute', 'tcproute', 'tlsroute']) {
    const args = ['get', kind, 'web', '-n', 'shop', '-o', 'jsonpath={.status.parents[*].controllerName}'];
    await expect.poll(read(args), { timeout: 20_000, message: kind }).toBe('weft.dev/controller');
  }
  const features = [
    'get',
    'gatewayclass',
    'weft-waypoint',
    '-o',
    'jsonpath={.status.supportedFeatures[*].name}',
  ];
  await expect.poll(read(features), { timeout: 20_000 }).toContain('Mesh');
  const scaler = () => server.kubectl(['get', 'hpa', 'wp', '-n', 'shop']).then(({ status }) => status);
  await expect.poll(scaler, { timeout: 20_000 }).toBe(0);
  const fixed = ['weft.dev/min-replicas=1', 'weft.dev/max-replicas=1'];
  await server.kubectlOk(['annotate', 'gateway', 'wp', '-n', 'shop', ...fixed]);
  await expect.poll(scaler, { timeout: 20_000 }).not.toBe(0);
}

/** Rights that only Gateways and routes make use of. */
function isOfGateways(right: string): boolean {
  const ofWaypoints =
    /^(create|delete|get|patch) (apps|policy|autoscaling)?\/(configmaps|service|deploy|pod|horizontal)/;
  return right.includes(' gateway.networking.k8s.io/') || ofWaypoints.test(right);
}

async function connect(to: ControllerProcess): Promise<NodeClient> {
  const token = await nodeToken(server, tunnelPod);
  const node = new NodeClient({ port: to.grpcPort, roots: await to.roots(), token });
  nodes.push(node);
  return node;
}

/** Of everything that was installed. */
async function versions(): Promise<ReadonlyMap<string, string>> {
  const args = ['get', '-f', '-', '-o', 'json'];
  const { items } = JSON.parse(await server.kubectlOk(args, installation.text)) as {
    items: { kind: string; metadata: { name: string; resourceVersion: string } }[];
  };
  return new Map(items.map(({ kind, metadata }) => [`${kind} ${metadata.name}`, metadata.resourceVersion]));
}

/** An object of every kind with a status. */
const statuses = [
  ['authorizationpolicy', 'lost'],
  ['meshconfig', 'default'],
  ['peerauthentication', 'default'],
  ['requestauthentication', 'web'],
  ['serviceentry', 'database'],
  ['trafficpolicy', 'web'],
  ['workloadentry', 'vm'],
] as const;

/** An object of every kind of ours, and a pod that can not be captured. */
const ownObjects = `
apiVersion: v1
kind: Pod
metadata: { name: agent, namespace: shop }
spec: { nodeName: node-1, serviceAccountName: web, hostNetwork: true, containers: [{ name: main, image: x }] }
status: { phase: Running, podIP: 10.0.0.1, podIPs: [{ ip: 10.0.0.1 }] }
---
apiVersion: weft.dev/v1alpha1
kind: AuthorizationPolicy
metadata: { name: lost, namespace: shop }
spec: { targetRefs: [{ kind: Service, name: nowhere }], rules: [{}] }
---
apiVersion: weft.dev/v1alpha1
kind: MeshConfig
metadata: { name: default }
spec: {}
---
apiVersion: weft.dev/v1alpha1
kind: PeerAuthentication
metadata: { name: default, namespace: shop }
spec: { mtls: { mode: PERMISSIVE } }
---
apiVersion: weft.dev/v1alpha1
kind: RequestAuthentication
metadata: { name: web, namespace: shop }
spec:
  targetRefs: [{ kind: Service, name: web }]
  jwtRules: [{ issuer: https://issuer.example, jwksUri: https://issuer.example/keys }]
---
apiVersion: weft.dev/v1alpha1
kind: ServiceEntry
metadata: { name: database, namespace: shop }
spec:
  hosts: [db.example.com]
  ports: [{ number: 5432, name: postgres, protocol: TCP }]
  resolution: STATIC
  location: MESH_EXTERNAL
  endpoints: [{ address: 192.0.2.20 }]
---
apiVersion: weft.dev/v1alpha1
kind: TrafficPolicy
metadata: { name: web, namespace: shop }
spec: { targetRefs: [{ kind: Service, name: web }] }
---
apiVersion: weft.dev/v1alpha1
kind: WorkloadEntry
metadata: { name: vm, namespace: shop }
spec: { address: 192.0.2.30 }
`;

const gatewayObjects = `
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: { name: weft-waypoint }
spec: { controllerName: weft.dev/controller }
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: wp, namespace: shop }
spec: { gatewayClassName: weft-waypoint, listeners: [{ name: mesh, port: 15008, protocol: HBONE }] }
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: web, namespace: shop }
spec: { parentRefs: [{ group: "", kind: Service, name: web }], rules: [{ backendRefs: [{ name: web, port: 80 }] }] }
---
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: { name: web, namespace: shop }
spec: { parentRefs: [{ group: "", kind: Service, name: web }], rules: [{ backendRefs: [{ name: web, port: 80 }] }] }
---
apiVersion: gateway.networking.k8s.io/v1
kind: TCPRoute
metadata: { name: web, namespace: shop }
spec: { parentRefs: [{ group: "", kind: Service, name: web }], rules: [{ backendRefs: [{ name: web, port: 80 }] }] }
---
apiVersion: gateway.networking.k8s.io/v1
kind: TLSRoute
metadata: { name: web, namespace: shop }
spec: { parentRefs: [{ group: "", kind: Service, name: web }], hostnames: [a.example.com], rules: [{ backendRefs: [{ name: web, port: 80 }] }] }
`;
