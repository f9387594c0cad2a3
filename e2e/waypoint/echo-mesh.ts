// The mesh of the waypoint's strict suites: two versions of an application on two nodes behind Services echo, echo-v1 and
// echo-v2, clients in its namespace and in another, and a waypoint of two pods. Knows how to wait for a route.

import { eventually } from '../demo/eventually.ts';
import { MeshLab, type MeshPlan, namespaceObject } from '../mesh/mesh-lab.ts';
import { Caller } from './caller.ts';
import { echoServiceObject, echoServices } from './echo-service.ts';
import { namesOf, routesInForce } from './routes-in-force.ts';

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
    const services = echoServices.map((each, index) => ({ ...each, address: `10.96.0.${40 + index}` }));
    mesh.apply('services', ...services.map(echoServiceObject));
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
  const wanted = namesOf(routes);
  for (const gate of gates)
    await eventually(`in force: ${wanted.join(', ') || 'no route'}`, async () => {
      const dump = { host: '127.0.0.1', port: 15000, path: '/config_dump', timeoutMs: 5_000 };
      const { body } = await mesh.pod(gate).agent.call('http', dump);
      return routesInForce(body).join() === wanted.join() ? true : undefined;
    });
}
