// An API server with the smallest cluster that a mesh has something to do in: one node, its node tunnel, and a pod `web`
// in the enrolled namespace `shop`. Whoever starts it closes it.

import { KubeClient } from '../../controller/kubernetes/kube-client.ts';
import { systemClock } from '../../mesh/runtime/clock.ts';
import { ApiServer, type ApiServerOptions } from './api-server.ts';
import { ObjectWriter } from './object-writer.ts';

/** Of the node tunnel, whose tokens the controller takes. */
export const tunnelPod = 'ztunnel-1';
/** Of the pod `web`. */
export const webIdentity = {
  trustDomain: 'cluster.local',
  namespace: 'shop',
  serviceAccount: 'web',
} as const;

export class ShopServer {
  readonly server: ApiServer;
  readonly client: KubeClient;
  readonly writer: ObjectWriter;

  private constructor(server: ApiServer) {
    this.server = server;
    this.client = KubeClient.fromFile(server.kubeconfig, { clock: systemClock });
    this.writer = new ObjectWriter(this.client);
  }

  /** Without the objects: some tests install the mesh before. Throws RigError. */
  static async start(options?: ApiServerOptions): Promise<ShopServer> {
    return new ShopServer(await ApiServer.start(options));
  }

  /** Idempotent. */
  async open(): Promise<void> {
    await this.writer.apply(objects);
  }

  async close(): Promise<void> {
    this.client.close();
    await this.server.close();
  }
}

/** A Service in front of the pod `web`. */
export const webService = {
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name: 'web', namespace: 'shop' },
  spec: { selector: { app: 'web' }, ports: [{ port: 80 }] },
} as const;

const objects = `
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
kind: Pod
metadata: { name: web, namespace: shop, labels: { app: web } }
spec: { nodeName: node-1, serviceAccountName: web, containers: [{ name: main, image: x }] }
status: { phase: Running, podIP: 10.1.0.1, podIPs: [{ ip: 10.1.0.1 }], conditions: [{ type: Ready, status: "True" }] }
---
apiVersion: v1
kind: Pod
metadata: { name: ${tunnelPod}, namespace: weft-system }
spec: { nodeName: node-1, serviceAccountName: weft-ztunnel, containers: [{ name: main, image: x }] }
`;
