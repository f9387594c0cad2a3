// The mesh of the waypoint's strict suites: two versions of an application on two nodes behind Services echo, echo-v1 and
// echo-v2, clients in its namespace and in another, and a waypoint of two pods. Knows how to wait for a route.

import { eventually } from '../demo/eventually.ts';
import { MeshLab, type MeshPlan, namespaceObject } from '../mesh/mesh-lab.ts';
import { Caller } from './caller.ts';

const program = 'e2e/waypoint/echo-main.ts';
export const gates = ['gate-1', 'gate-2'] as const;

export interface EchoMesh extends AsyncDisposable {
  readonly mesh: MeshLab;
  readonly callers: Readonly<Record<'shop' | 'buyers', Caller>>;
  /** Applies routes as one file; they are in force in every waypoint when this resolves. */
  route(routes: readonly object[]): Promise<void>;
}

/** @param name the lab's, unique */
export async function openEchoMesh(name: string, options: Partial<MeshPlan> = {}): Promise<EchoMesh> {
  const mesh = await MeshLab.open({
    name,
    enrolled: ['buyers'],
    pods: [
      { name: 'client', app: 'client', node: 'node-1', program },
      { name: 'buyer', app: 'buyer', node: 'node-2', namespace: 'buyers', program },
      { name: 'echo-v1', app: 'echo', labels: { version: 'v1' }, node: 'node-1', program },
      { name: 'echo-v2', app: 'echo', labels: { version: 'v2' }, node: 'node-2', program },
      { name: 'gate-1', app: 'gate', node: 'node-1', waypoint: true },
      { name: 'gate-2', app: 'gate', node: 'node-2', waypoint: true },
    ],
    ...options,
  });
  try {
    mesh.apply(
      'services',
      service('echo', '10.96.0.40', { app: 'echo' }, { grpc: 'kubernetes.io/h2c' }),
      service('echo-v1', '10.96.0.41', { app: 'echo', version: 'v1' }),
      service('echo-v2', '10.96.0.42', { app: 'echo', version: 'v2' }),
    );
    mesh.apply('namespace', namespaceObject('shop', true, { 'weft.dev/waypoint': 'gate' }));
    await Promise.all(gates.map((gate) => mesh.startWaypoint(mesh.pod(gate))));
    const callers = {
      shop: new Caller(mesh, mesh.pod('client')),
      buyers: new Caller(mesh, mesh.pod('buyer')),
    };
    await untilLed(mesh, callers);
    const close = (): Promise<void> => mesh.close();
    return { mesh, callers, route: (routes) => applyRoutes(mesh, routes), [Symbol.asyncDispose]: close };
  } catch (error) {
    await mesh.close({ keepFiles: true });
    throw error;
  }
}

/** Both nodes lead their clients through the waypoint, which says so by a header of its own. */
async function untilLed(mesh: MeshLab, callers: EchoMesh['callers']): Promise<void> {
  for (const caller of Object.values(callers))
    await eventually('led: a client', async () => {
      const [[answer] = []] = await caller.batch([{ host: 'echo-v1.shop', port: 80, path: '/' }], {
        times: 1,
        connections: 'new',
      });
      if (answer?.status !== 200) throw new Error(answer?.error ?? `status ${answer?.status}`);
      return answer.body.includes('"x-request-id"') ? true : undefined;
    });
  await applyRoutes(mesh, []);
}

async function applyRoutes(mesh: MeshLab, routes: readonly object[]): Promise<void> {
  if (routes.length === 0) mesh.remove('routes');
  else mesh.apply('routes', ...routes);
  const wanted = routes.map((route) => (route as { metadata: { name: string } }).metadata.name).sort();
  for (const gate of gates)
    await eventually(`in force: ${wanted.join(', ') || 'no route'}`, async () => {
      const dump = { host: '127.0.0.1', port: 15000, path: '/config_dump', timeoutMs: 5_000 };
      const { routings } = JSON.parse((await mesh.pod(gate).agent.call('http', dump)).body) as Routings;
      return namesIn(routings).join() === wanted.join() ? true : undefined;
    });
}

interface RouteSets {
  readonly http: readonly { readonly name: { readonly name: string } }[];
}

interface Routings {
  readonly routings: readonly {
    readonly ports: readonly {
      readonly routes: RouteSets;
      readonly consumers: readonly { readonly routes: RouteSets }[];
    }[];
  }[];
}

function namesIn(routings: Routings['routings']): string[] {
  const sets = routings.flatMap(({ ports }) =>
    ports.flatMap(({ routes, consumers }) => [routes, ...consumers.map((consumer) => consumer.routes)]),
  );
  return [...new Set(sets.flatMap(({ http }) => http.map(({ name }) => name.name)))].sort();
}

function service(
  name: string,
  address: string,
  selector: object,
  appProtocol: { readonly grpc?: string } = {},
): object {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name, namespace: 'shop' },
    spec: {
      clusterIP: address,
      clusterIPs: [address],
      selector,
      ports: [
        { name: 'http', port: 80, targetPort: 8080, appProtocol: 'http' },
        { name: 'http-alt', port: 8080, appProtocol: 'http' },
        { name: 'tcp', port: 9090 },
        {
          name: 'grpc',
          port: 7070,
          ...(appProtocol.grpc !== undefined && { appProtocol: appProtocol.grpc }),
        },
      ],
    },
  };
}
