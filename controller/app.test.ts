// The whole controller on loopback, over real TLS and gRPC, with the node's own clients against it.

import { mkdir, mkdtemp, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { get } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { ModelDelta } from '../mesh/model/model.ts';
import { formatSpiffeId, type Identity } from '../mesh/model/spiffe-id.ts';
import { systemClock } from '../mesh/runtime/clock.ts';
import { createLogger } from '../mesh/runtime/logger.ts';
import type { FlagValues } from '../mesh/runtime/settings.ts';
import { createCsr } from '../mesh/tls/csr.ts';
import { GrpcSigner } from '../mesh/tls/grpc-signer.ts';
import { XdsClient } from '../mesh/xds/client.ts';
import { Controller, type ControllerPorts, rootCertificatePath } from './app.ts';
import { parseControllerConfig } from './config.ts';
import { JoinTokens } from './identity/join-tokens.ts';

const logger = createLogger({ component: 'test', level: 'silent' });
const namespace =
  'apiVersion: v1\nkind: Namespace\nmetadata: { name: shop, labels: { weft.dev/mode: ambient } }\n';
const pod = (name: string, node: string, ip: string) =>
  `apiVersion: v1\nkind: Pod\nmetadata: { name: ${name}, namespace: shop, annotations: { weft.dev/netns: ${name} } }\nspec: { nodeName: ${node}, serviceAccountName: ${name} }\nstatus: { podIP: ${ip} }\n`;

let root: string;
let controller: Controller | undefined;
let ports: ControllerPorts;
const cleanups: (() => void)[] = [];

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'weft-controller-'));
  await mkdir(join(root, 'config'));
  await manifest(
    'mesh.yaml',
    [namespace, pod('web', 'node-1', '10.1.0.1'), pod('api', 'node-2', '10.1.0.2')].join('---\n'),
  );
});

afterEach(async () => {
  for (const cleanup of cleanups.splice(0)) cleanup();
  await controller?.stop();
  controller = undefined;
  await rm(root, { recursive: true, force: true });
});

/** Written beside and moved into place, as a careful editor does. */
async function manifest(name: string, text: string): Promise<void> {
  await writeFile(join(root, 'new'), text);
  await rename(join(root, 'new'), join(root, 'config', name));
}

async function start(args: FlagValues = {}): Promise<void> {
  const addresses = { address: '127.0.0.1:0', admin: '127.0.0.1:0' };
  const directories = { config: join(root, 'config'), state: join(root, 'state') };
  const parsed = parseControllerConfig({ ...directories, ...addresses, 'log-level': 'silent', ...args });
  if (!parsed.ok) throw new Error(parsed.problems.join('\n'));
  controller = new Controller(parsed.config, { clock: systemClock });
  ports = await controller.start();
}

async function tokenFor(node: string): Promise<string> {
  const { token } = await new JoinTokens({ stateDir: join(root, 'state'), clock: systemClock }).create(node);
  return token;
}

/** A node's configuration client that remembers what it was told. */
class Node {
  readonly workloads = new Map<string, string>();
  readonly policies = new Set<string>();
  readonly pods = new Set<string>();
  readonly states: string[] = [];
  synced = false;
  #check = () => {};

  constructor(options: { readonly token: string | undefined; readonly roots: string }) {
    const client = new XdsClient(
      {
        address: `127.0.0.1:${ports.grpc}`,
        rootCertificates: () => options.roots,
        token: () => options.token,
        clusterId: 'Kubernetes',
        node: { id: 'test', metadata: {} },
        mode: 'wildcard',
        clock: systemClock,
        logger,
      },
      {
        onDelta: (delta) => this.#apply(delta),
        onSynced: () => {
          this.synced = true;
          this.#check();
        },
        onState: (state, reason) => {
          this.states.push(`${state} ${reason ?? ''}`);
          this.#check();
        },
      },
    );
    cleanups.push(() => client.close());
    client.start();
  }

  until(holds: () => boolean): Promise<void> {
    return new Promise((resolve) => {
      this.#check = () => {
        if (holds()) resolve();
      };
      this.#check();
    });
  }

  #apply({ workloads, policies, pods, removed }: ModelDelta): void {
    for (const { uid, name } of workloads) this.workloads.set(uid, name);
    for (const uid of removed.workloads) this.workloads.delete(uid);
    for (const { key } of policies) this.policies.add(key);
    for (const key of removed.policies) this.policies.delete(key);
    for (const { name } of pods) this.pods.add(name);
    this.#check();
  }
}

const roots = () => readFile(rootCertificatePath(join(root, 'state')), 'utf8');

function sign(identity: Identity, token: string, rootsPem: string, csr: string): Promise<readonly string[]> {
  const signer = new GrpcSigner({
    address: `127.0.0.1:${ports.grpc}`,
    rootCertificates: () => rootsPem,
    token: () => token,
    clusterId: 'Kubernetes',
    clock: systemClock,
  });
  cleanups.push(() => signer.close());
  return signer.sign(csr, {
    validitySeconds: 3600,
    impersonate: formatSpiffeId(identity),
    signal: new AbortController().signal,
  });
}

function admin(path: string): Promise<{ status: number | undefined; body: string }> {
  return new Promise((resolve, reject) => {
    get({ host: '127.0.0.1', port: ports.admin, path }, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (chunk: string) => {
        body += chunk;
      });
      response.on('end', () => resolve({ status: response.statusCode, body }));
    }).on('error', reject);
  });
}

describe('Controller', () => {
  it('tells a node about the mesh and about its own pods only, and of every change', async () => {
    await start();
    const node = new Node({ token: await tokenFor('node-1'), roots: await roots() });
    await node.until(() => node.synced);
    expect([...node.workloads.values()]).toEqual(['api', 'web']);
    expect([...node.pods]).toEqual(['web']);
    await manifest(
      'strict.yaml',
      'apiVersion: weft.dev/v1alpha1\nkind: PeerAuthentication\nmetadata: { name: default, namespace: shop }\nspec: { mtls: { mode: STRICT } }\n',
    );
    await node.until(() => node.policies.has('shop/peer-authentication:default'));
    await manifest('mesh.yaml', [namespace, pod('web', 'node-1', '10.1.0.1')].join('---\n'));
    await node.until(() => node.workloads.size === 1);
  });

  it('gives a node certificates of its own pods and of no others', async () => {
    await start();
    const rootsPem = await roots();
    const token = await tokenFor('node-1');
    const web = { trustDomain: 'cluster.local', namespace: 'shop', serviceAccount: 'web' };
    const request = await createCsr(web);
    const chain = await sign(web, token, rootsPem, request.csrPem);
    expect(chain.at(-1)?.trim()).toBe(rootsPem.trim());
    const api = { ...web, serviceAccount: 'api' };
    await expect(sign(api, token, rootsPem, (await createCsr(api)).csrPem)).rejects.toThrow(
      /no pod with this service account/,
    );
    await expect(sign(web, 'wrong', rootsPem, request.csrPem)).rejects.toThrow(/token/i);
    expect((await admin('/metrics')).body).toContain(
      'weft_controller_certificate_requests_total{result="issued"} 1',
    );
  });

  it('refuses a node without a token', async () => {
    await start();
    const stranger = new Node({ token: undefined, roots: await roots() });
    await stranger.until(() =>
      stranger.states.some((state) => /disconnected .*(token|UNAUTHENTICATED)/i.test(state)),
    );
    expect(stranger.workloads.size).toBe(0);
  });

  it('answers health, metrics, dumps, statuses and problems', async () => {
    await manifest(
      'broken.yaml',
      'apiVersion: weft.dev/v1alpha1\nkind: AuthorizationPolicy\nmetadata: { name: p }\nspec: { acton: DENY }\n',
    );
    await start();
    expect(await admin('/healthz/ready')).toEqual({ status: 200, body: 'ready\n' });
    expect((await admin('/metrics')).body).toContain('weft_controller_model_objects{kind="workloads"} 2');
    expect(JSON.parse((await admin('/config_dump')).body).workloads.length).toBe(2);
    expect(JSON.parse((await admin('/debug/problems')).body)[0]).toMatchObject({
      line: 4,
      field: 'spec.acton',
    });
    expect(JSON.parse((await admin('/statuses')).body)).toEqual([]);
    expect((await admin('/nothing')).status).toBe(404);
  });

  it('keeps its root over a restart, so that nodes need no new one', async () => {
    await start();
    const before = await roots();
    await controller?.stop();
    await start();
    expect(await roots()).toBe(before);
    expect((await stat(join(root, 'state'))).mode & 0o777).toBe(0o700);
  });

  it('fails to start, and leaves nothing open, without manifests or with a taken port', async () => {
    await expect(start({ config: join(root, 'nowhere') })).rejects.toMatchObject({
      code: 'DIRECTORY_MISSING',
    });
    await start();
    const taken = `127.0.0.1:${ports.grpc}`;
    const first = controller;
    await expect(start({ address: taken })).rejects.toMatchObject({ code: 'BIND_FAILED' });
    await first?.stop();
  });

  it('ends the streams of its nodes when it stops', async () => {
    await start();
    const node = new Node({ token: await tokenFor('node-1'), roots: await roots() });
    await node.until(() => node.synced);
    await controller?.stop();
    await node.until(() => node.states.some((state) => state.startsWith('disconnected')));
  });
});
