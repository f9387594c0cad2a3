// A small mesh in an API server and one controller on it: what a test of faults begins with. The controller is a process
// of its own, so that its log is what an operator would read, and one node listens to it.

import type { KubeClient } from '../../controller/kubernetes/kube-client.ts';
import type { ApiServer, ApiServerOptions } from './api-server.ts';
import { ControllerProcess } from './controller-process.ts';
import { applyOwnDefinitions } from './definitions.ts';
import { nodeToken } from './installation.ts';
import { NodeClient } from './node-client.ts';
import type { Manifest, ObjectWriter } from './object-writer.ts';
import { ShopServer, tunnelPod } from './shop-server.ts';

export interface TestMeshOptions {
  readonly server?: ApiServerOptions;
  /** Of the controller, besides what it needs; default one controller without any. */
  readonly flags?: readonly string[];
  /** Replicas of the controller; default 1. */
  readonly replicas?: number;
}

export interface Condition {
  readonly type: string;
  readonly status: string;
  readonly reason: string;
  readonly message: string;
  readonly observedGeneration: number;
}

export interface PodOptions {
  readonly ip?: string;
  readonly account?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly hostNetwork?: boolean;
  readonly finalizers?: readonly string[];
}

const own = 'weft.dev/v1alpha1';

export class TestMesh {
  readonly #shop: ShopServer;
  readonly controllers: ControllerProcess[] = [];
  readonly nodes: NodeClient[] = [];
  #token = '';

  private constructor(shop: ShopServer) {
    this.#shop = shop;
  }

  /** Resolves when each controller has a node that was told everything. */
  static async open(options: TestMeshOptions = {}): Promise<TestMesh> {
    const mesh = new TestMesh(await ShopServer.start(options.server));
    try {
      await applyOwnDefinitions(mesh.server);
      await mesh.#shop.open();
      await mesh.writer.apply(bystanders);
      mesh.#token = await nodeToken(mesh.server, tunnelPod);
      const count = options.replicas ?? 1;
      await Promise.all(Array.from({ length: count }, () => mesh.startController(options.flags)));
      return mesh;
    } catch (error) {
      await mesh.close();
      throw error;
    }
  }

  get server(): ApiServer {
    return this.#shop.server;
  }

  get client(): KubeClient {
    return this.#shop.client;
  }

  get writer(): ObjectWriter {
    return this.#shop.writer;
  }

  get controller(): ControllerProcess {
    return this.controllers[0] as ControllerProcess;
  }

  get node(): NodeClient {
    return this.nodes[0] as NodeClient;
  }

  get token(): string {
    return this.#token;
  }

  async startController(
    flags: readonly string[] = [],
    kubeconfig = this.server.kubeconfig,
  ): Promise<ControllerProcess> {
    const args = ['controller', '--log-format=json', ...flags];
    const controller = await ControllerProcess.start({ kubeconfig, args });
    this.controllers.push(controller);
    const roots = await controller.roots();
    const node = new NodeClient({ port: controller.grpcPort, roots, token: this.#token });
    this.nodes.push(node);
    await node.whenSynced();
    return controller;
  }

  async putPod(name: string, options: PodOptions = {}): Promise<void> {
    await this.writer.put(podManifest(name, options));
  }

  /** An object of ours in the namespace `shop`. */
  async putOwn(kind: string, name: string, spec: object, metadata: object = {}): Promise<void> {
    await this.writer.put({
      apiVersion: own,
      kind,
      metadata: { name, namespace: 'shop', ...metadata },
      spec,
    });
  }

  async deleteOwn(kind: string, name: string): Promise<void> {
    await this.writer.delete({ apiVersion: own, kind, name, namespace: 'shop' });
  }

  async deletePod(name: string): Promise<void> {
    await this.writer.delete({ apiVersion: 'v1', kind: 'Pod', name, namespace: 'shop' });
  }

  /** `Type=Status` of an object of ours, sorted. */
  async conditions(kind: string, name: string): Promise<readonly string[]> {
    return (await this.conditionObjects(kind, name)).map(({ type, status }) => `${type}=${status}`).sort();
  }

  async conditionObjects(kind: string, name: string): Promise<readonly Condition[]> {
    const address = { apiVersion: own, kind, name, namespace: 'shop' };
    const { status } = await this.writer.get<{ status?: { conditions?: Condition[] } }>(address);
    return status?.conditions ?? [];
  }

  /** Messages of the events with this reason. */
  async events(reason: string): Promise<readonly string[]> {
    const path = `/api/v1/events?fieldSelector=${encodeURIComponent(`reason=${reason}`)}`;
    const { items } = await this.client.request<{ items: { message: string }[] }>({ path });
    return items.map(({ message }) => message);
  }

  async close(): Promise<void> {
    for (const node of this.nodes) node.close();
    for (const controller of this.controllers) await controller.stop({ now: true });
    await this.#shop.close();
  }
}

/** A pod in the namespace `shop` that runs, or waits for an address. */
export function podManifest(
  name: string,
  { ip, account = 'web', labels = {}, hostNetwork = false, finalizers = [] }: PodOptions = {},
): Manifest {
  const spec = {
    nodeName: 'node-1',
    serviceAccountName: account,
    containers: [{ name: 'main', image: 'x' }],
  };
  const ready = [{ type: 'Ready', status: 'True' }];
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace: 'shop', labels: { app: name, ...labels }, finalizers },
    spec: hostNetwork ? { ...spec, hostNetwork } : spec,
    status:
      ip === undefined
        ? { phase: 'Pending' }
        : { phase: 'Running', podIP: ip, podIPs: [{ ip }], conditions: ready },
  };
}

const bystanders = `
apiVersion: v1
kind: Namespace
metadata: { name: calm, labels: { weft.dev/mode: ambient } }
---
apiVersion: v1
kind: ServiceAccount
metadata: { name: other, namespace: shop }
---
apiVersion: v1
kind: ServiceAccount
metadata: { name: default, namespace: calm }
---
apiVersion: v1
kind: Pod
metadata: { name: bystander, namespace: calm, labels: { app: bystander } }
spec: { nodeName: node-1, containers: [{ name: main, image: x }] }
status: { phase: Running, podIP: 10.2.0.1, podIPs: [{ ip: 10.2.0.1 }], conditions: [{ type: Ready, status: "True" }] }
`;
