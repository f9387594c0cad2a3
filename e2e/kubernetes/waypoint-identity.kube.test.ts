// Who may be a waypoint, on a real API server: a pod's ServiceAccount token makes it the waypoint of the Gateway that its
// label and its service account name, and gets it that identity and no other.

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Controller, rootCertificatePath } from '../../controller/app.ts';
import { parseControllerConfig } from '../../controller/config.ts';
import { KubeClient } from '../../controller/kubernetes/kube-client.ts';
import { formatSpiffeId } from '../../mesh/model/spiffe-id.ts';
import { systemClock } from '../../mesh/runtime/clock.ts';
import { createCsr } from '../../mesh/tls/csr.ts';
import { GrpcSigner } from '../../mesh/tls/grpc-signer.ts';
import { ApiServer } from './api-server.ts';
import { applyDefinitions, applyOwnDefinitions } from './definitions.ts';
import { gatewayCrds } from './isolation.ts';
import { ObjectWriter } from './object-writer.ts';

const crds = gatewayCrds();
const label = 'gateway.networking.k8s.io/gateway-name';

let server: ApiServer;
let client: KubeClient;
let controller: Controller;
let grpcPort: number;
let roots: string;

function pod(name: string, account: string, labels: object): string {
  const spec = {
    nodeName: 'node-1',
    serviceAccountName: account,
    containers: [{ name: 'main', image: 'x' }],
  };
  return JSON.stringify({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace: 'shop', labels },
    spec,
  });
}

beforeAll(async () => {
  if (crds === undefined) return;
  server = await ApiServer.start({});
  client = KubeClient.fromFile(server.kubeconfig, { clock: systemClock });
  await applyOwnDefinitions(server);
  await applyDefinitions(server, join(crds, 'experimental'));
  await new ObjectWriter(client).apply(`
{ apiVersion: v1, kind: Namespace, metadata: { name: weft-system } }
---
{ apiVersion: v1, kind: Namespace, metadata: { name: shop } }
---
{ apiVersion: v1, kind: Node, metadata: { name: node-1 } }
---
{ apiVersion: v1, kind: ServiceAccount, metadata: { name: gate, namespace: shop } }
---
{ apiVersion: v1, kind: ServiceAccount, metadata: { name: web, namespace: shop } }
---
{ apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: { name: gate, namespace: shop }, spec: { gatewayClassName: weft-waypoint, listeners: [{ name: mesh, port: 15008, protocol: HBONE }] } }
---
${pod('gate-1', 'gate', { [label]: 'gate' })}
---
${pod('unlabelled', 'gate', {})}
---
${pod('impostor', 'web', { [label]: 'gate' })}
`);
  const state = join(server.directory, 'state');
  const parsed = parseControllerConfig({
    kubeconfig: server.kubeconfig,
    state,
    address: '127.0.0.1:0',
    admin: '127.0.0.1:0',
    'log-level': 'silent',
  });
  if (!parsed.ok) throw new Error(parsed.problems.join('\n'));
  controller = new Controller(parsed.config, { clock: systemClock });
  grpcPort = (await controller.start()).grpc;
  roots = await readFile(rootCertificatePath(state), 'utf8');
});

afterAll(async () => {
  await controller?.stop();
  client?.close();
  await server?.close();
});

async function token(account: string, boundTo: string, audience = 'weft'): Promise<string> {
  const args = ['create', 'token', account, '-n', 'shop', `--audience=${audience}`, '--duration=10m'];
  args.push('--bound-object-kind=Pod', `--bound-object-name=${boundTo}`);
  return (await server.kubectlOk(args)).trim();
}

/** The first certificate of the chain that `bearer` gets for a service account of the shop. */
async function certificateOf(bearer: string, serviceAccount: string): Promise<string> {
  const signer = new GrpcSigner({
    address: `127.0.0.1:${grpcPort}`,
    rootCertificates: () => roots,
    token: () => bearer,
    clusterId: 'Kubernetes',
    clock: systemClock,
  });
  try {
    const identity = { trustDomain: 'cluster.local', namespace: 'shop', serviceAccount };
    const { csrPem } = await createCsr(identity);
    const options = { validitySeconds: 3_600, impersonate: formatSpiffeId(identity) };
    return (await signer.sign(csrPem, options))[0] ?? '';
  } finally {
    signer.close();
  }
}

describe.skipIf(crds === undefined)('a pod of a waypoint', () => {
  it.each(['weft', 'istio-ca'])('gets its own certificate with a token for %s', async (audience) => {
    const bearer = await token('gate', 'gate-1', audience);
    expect(await certificateOf(bearer, 'gate')).toContain('BEGIN CERTIFICATE');
  });

  it('gets no other identity', async () => {
    await expect(certificateOf(await token('gate', 'gate-1'), 'web')).rejects.toThrow(
      /only of its own identity "spiffe:\/\/cluster\.local\/ns\/shop\/sa\/gate"/,
    );
  });

  it.each([
    ['without the label', 'gate', 'unlabelled'],
    ['with the label and another service account', 'web', 'impostor'],
  ])('is nobody %s', async (_what, account, name) => {
    await expect(certificateOf(await token(account, name), 'gate')).rejects.toThrow(/token/i);
  });
});
