// A waypoint where it works, inside the mesh: a client's requests come to it in the tunnel of its node, and leave in the tunnel
// to the server's node, mutual TLS on both sides. The client's and the server's ztunnel share the machine's cores, so the
// figure to compare is the waypoint's own CPU time.

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { MeshLab, type MeshPod } from '../../e2e/mesh/mesh-lab.ts';
import { type LoadResult, runLoad } from './load.ts';
import { canaryPercent, timeoutSeconds } from './peers/http-peer.ts';

const port = 8090;
const addresses = { front: '10.96.0.90', stable: '10.96.0.91', canary: '10.96.0.92' } as const;

export async function measureMeshPath(seconds: number): Promise<LoadResult> {
  const mesh = await MeshLab.open({
    name: 'l7mesh',
    pods: [
      { name: 'client', node: 'node-1', app: 'client' },
      { name: 'server', node: 'node-2', app: 'server' },
      { name: 'waypoint-1', node: 'node-1', app: 'waypoint', waypoint: true },
    ],
  });
  try {
    mesh.apply('mesh', meshConfig);
    startNginx(mesh, mesh.pod('server'));
    mesh.apply(
      'services',
      service('front', { 'weft.dev/waypoint': 'waypoint' }),
      service('stable'),
      service('canary'),
    );
    mesh.apply('route', route);
    const waypoint = await mesh.startWaypoint(mesh.pod('waypoint-1'));
    const site = { lab: mesh.lab, client: mesh.pod('client').host };
    const load = { url: `http://${addresses.front}:${port}/`, connections: 32 };
    await runLoad(site, waypoint, { ...load, seconds: 3 });
    return await runLoad(site, waypoint, { ...load, seconds });
  } finally {
    await mesh.close();
  }
}

function startNginx(mesh: MeshLab, { host, v4 }: MeshPod): void {
  const { directory } = mesh.lab;
  const file = join(directory, 'backend.conf');
  writeFileSync(
    file,
    `daemon off; user root; worker_processes 1; pid ${directory}/backend.pid; error_log stderr error;
events { worker_connections 4096; }
http { access_log off; keepalive_requests 1000000000; server { listen ${v4}:${port}; location / { return 200 "hello world\\n"; } } }
`,
  );
  mesh.lab.spawn(host, { name: 'backend', argv: ['nginx', '-e', 'stderr', '-p', directory, '-c', file] });
}

/** As in production where speed counts: failures are logged, and what goes well is in the metrics. */
const meshConfig = {
  apiVersion: 'weft.dev/v1alpha1',
  kind: 'MeshConfig',
  metadata: { name: 'default' },
  spec: { accessLog: 'FAILURES' },
};

function service(name: keyof typeof addresses, labels: object = {}): object {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name, namespace: 'shop', labels },
    spec: {
      clusterIP: addresses[name],
      clusterIPs: [addresses[name]],
      selector: { app: 'server' },
      ports: [{ name: 'http', port, targetPort: port, appProtocol: 'http' }],
    },
  };
}

const route = {
  apiVersion: 'gateway.networking.k8s.io/v1',
  kind: 'HTTPRoute',
  metadata: { name: 'front', namespace: 'shop' },
  spec: {
    parentRefs: [{ group: '', kind: 'Service', name: 'front', port }],
    rules: [
      {
        matches: [{ headers: [{ name: 'x-canary', value: '1' }] }],
        backendRefs: [{ name: 'canary', port }],
        timeouts: { request: `${timeoutSeconds}s` },
      },
      {
        backendRefs: [
          { name: 'stable', port, weight: 100 - canaryPercent },
          { name: 'canary', port, weight: canaryPercent },
        ],
        timeouts: { request: `${timeoutSeconds}s` },
      },
    ],
  },
};
