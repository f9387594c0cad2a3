// The waypoint of the benchmark: a data plane with its telemetry on this thread, a model made here, plain listeners. Not a
// program for users.

import { readFileSync } from 'node:fs';
import { listenTcp } from '../../mesh/io/socket.ts';
import { Reactor } from '../../mesh/io/reactor.ts';
import { ip, makeService, makeWorkload } from '../../mesh/model/fixture.ts';
import { defaultMeshConfig } from '../../mesh/model/mesh-config.ts';
import { emptyDelta, type ModelDelta } from '../../mesh/model/model.ts';
import type { GatewayKey, HttpRule, RoutingKey, ServiceRouting } from '../../mesh/model/routing.ts';
import type { Service } from '../../mesh/model/service.ts';
import type { Workload } from '../../mesh/model/workload.ts';
import { systemClock } from '../../mesh/runtime/clock.ts';
import { WaypointPlane } from '../../waypoint/data/waypoint-plane.ts';
import { defaultWaypointSettings } from '../../waypoint/data/waypoint-settings.ts';
import { WorkerReport } from '../../waypoint/telemetry/worker-report.ts';

export interface WeftProxyConfig {
  readonly address: string;
  readonly server: string;
  readonly listeners: readonly {
    readonly port: number;
    readonly stable: number;
    readonly canary: number;
    readonly http2: boolean;
  }[];
  readonly canaryPercent: number;
  readonly timeoutMs: number;
  /** Rules that stand before the one that is taken. */
  readonly routes: number;
}

type Listener = WeftProxyConfig['listeners'][0];

const gateway = 'bench/waypoint' as GatewayKey;
const waypoint = {
  destination: { kind: 'hostname', namespace: 'bench', hostname: 'waypoint.bench' },
  hboneMtlsPort: 15_008,
} as const;

function serviceAt(
  config: WeftProxyConfig,
  listener: Listener,
  port: number,
): { service: Service; workload: Workload } {
  const service = makeService('bench', `backend-${port}.bench`, {
    name: `backend-${port}`,
    ports: [
      { name: 'http', servicePort: port, targetPort: port, appProtocol: listener.http2 ? 'http2' : 'http11' },
    ],
  });
  const workload = makeWorkload(`backend-${port}`, {
    addresses: [ip(config.server)],
    tunnelProtocol: 'none',
    services: new Map([[service.key, []]]),
  });
  return { service, workload };
}

function rule(name: string, fields: Partial<HttpRule>): HttpRule {
  return {
    name: { kind: 'HTTPRoute', namespace: 'bench', name: 'front', rule: name },
    matches: [],
    filters: [],
    backends: [],
    timeouts: { requestMs: undefined, backendRequestMs: undefined },
    retry: undefined,
    sessionPersistence: undefined,
    trafficPolicy: undefined,
    ...fields,
  };
}

function modelOf(config: WeftProxyConfig, listener: Listener): { front: Service; delta: ModelDelta } {
  const stable = serviceAt(config, listener, listener.stable);
  const canary = serviceAt(config, listener, listener.canary);
  const front = makeService('bench', `front-${listener.port}.bench`, {
    name: `front-${listener.port}`,
    ports: [
      { name: 'http', servicePort: 80, targetPort: 80, appProtocol: listener.http2 ? 'http2' : 'http11' },
    ],
    waypoint,
  });
  const backend = ({ service }: { service: Service }, port: number, weight: number) => ({
    weight,
    target: { kind: 'service', service: service.key, port } as const,
    filters: [],
  });
  const timeouts = { requestMs: config.timeoutMs, backendRequestMs: undefined };
  const match = { path: undefined, method: undefined, headers: [], query: [], grpc: undefined };
  const others = Array.from({ length: config.routes }, (_, index) =>
    rule(`service-${index}`, {
      matches: [{ ...match, path: { kind: 'prefix', value: `/service-${index}` } }],
      backends: [backend(stable, listener.stable, 1)],
      timeouts,
    }),
  );
  const http = [
    ...others,
    rule('canary', {
      matches: [{ ...match, headers: [{ name: 'x-canary', kind: 'exact', value: '1' }] }],
      backends: [backend(canary, listener.canary, 1)],
      timeouts,
    }),
    rule('split', {
      backends: [
        backend(stable, listener.stable, 100 - config.canaryPercent),
        backend(canary, listener.canary, config.canaryPercent),
      ],
      timeouts,
    }),
  ];
  const routing: ServiceRouting = {
    key: `${gateway}|${front.key}` as RoutingKey,
    gateway,
    service: front.key,
    ports: [{ port: 80, routes: { http, tcp: undefined, tls: [] }, consumers: [] }],
  };
  const services = [front, stable.service, canary.service];
  const workloads = [stable.workload, canary.workload];
  return { front, delta: { ...emptyDelta, services, workloads, routings: [routing] } };
}

const config = JSON.parse(readFileSync(process.argv[2] as string, 'utf8')) as WeftProxyConfig;
const reactor = new Reactor({ onError: (error) => console.error(error) });
const report = new WorkerReport(() => {}, { reactor, clock: systemClock, format: 'text' });
const plane = new WaypointPlane(reactor, {
  settings: defaultWaypointSettings,
  gateway,
  report,
  clock: systemClock,
});
plane.applyModel({ ...emptyDelta, meshConfig: { ...defaultMeshConfig, accessLog: 'off' } });
for (const listener of config.listeners) {
  const { front, delta } = modelOf(config, listener);
  plane.applyModel(delta);
  const fd = listenTcp({ address: ip(config.address), port: listener.port });
  plane.listenPlain({ fd, service: front.key, port: 80 });
}
reactor.run();
