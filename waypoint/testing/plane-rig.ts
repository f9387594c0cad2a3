// A data plane in this process, on a reactor that the test turns, between clients and servers of Node on loopback, with
// a model made by hand. Strict: problems, and what is left open at the end, fail the test.

import { once } from 'node:events';
import type { AddressInfo, Server, Socket } from 'node:net';
import type { Header } from '../../mesh/h2/header.ts';
import { listenTcp, localAddress } from '../../mesh/io/socket.ts';
import { Reactor } from '../../mesh/io/reactor.ts';
import { pump, pumpUntil } from '../../mesh/io/testing/pump.ts';
import { ip, makeService, makeWorkload, vip } from '../../mesh/model/fixture.ts';
import { emptyDelta, type ModelDelta } from '../../mesh/model/model.ts';
import type {
  Backend,
  GatewayKey,
  HttpRule,
  RouteSet,
  RoutingKey,
  ServiceRouting,
} from '../../mesh/model/routing.ts';
import type { Service, ServiceKey, ServicePort } from '../../mesh/model/service.ts';
import type { Workload, WorkloadUid } from '../../mesh/model/workload.ts';
import { systemClock } from '../../mesh/runtime/clock.ts';
import type { PlaneReport, Refusal } from '../data/plane-report.ts';
import type { ConnectionRecord, RequestRecord } from '../data/request-record.ts';
import type { WaypointPlaneOptions } from '../data/plane-options.ts';
import { WaypointPlane } from '../data/waypoint-plane.ts';
import { defaultWaypointSettings, type WaypointSettings } from '../data/waypoint-settings.ts';

export const loopback = ip('127.0.0.1');
export const gateway = 'shop/waypoint' as GatewayKey;
export const servicePort = 80;
export const waypointAddress = {
  destination: { kind: 'hostname', namespace: 'shop', hostname: 'waypoint.shop.svc.cluster.local' },
  hboneMtlsPort: 15_008,
} as const;

type PartialDelta = Partial<Omit<ModelDelta, 'removed'>> & { removed?: Partial<ModelDelta['removed']> };

export class PlaneRig implements AsyncDisposable {
  readonly reactor: Reactor;
  readonly plane: WaypointPlane;
  readonly requests: RequestRecord[] = [];
  readonly connections: ConnectionRecord[] = [];
  readonly opened: ConnectionRecord[] = [];
  readonly refusals: Refusal[] = [];
  readonly problems: unknown[] = [];
  traceHeaders: readonly Header[] | undefined;
  #cleanUp: (() => unknown)[] = [];
  #nextVip = 1;

  constructor(settings: Partial<WaypointSettings> = {}, options: Partial<WaypointPlaneOptions> = {}) {
    this.reactor = new Reactor({ onError: (error) => this.problems.push(error) });
    this.plane = new WaypointPlane(this.reactor, {
      settings: { ...defaultWaypointSettings, ...settings },
      gateway,
      report: this.#report(),
      clock: systemClock,
      ...options,
    });
  }

  /** Turns the reactor until the promise settles. */
  until<T>(what: string, promise: Promise<T>): Promise<T> {
    return pumpUntil(this.reactor, what, promise);
  }

  /** Turns the reactor until it holds. */
  when(what: string, done: () => boolean): Promise<void> {
    return pump(this.reactor, what, done);
  }

  /** The record of the `index`-th request, when it has ended; -1 the newest of those that ended. */
  async record(index = 0): Promise<RequestRecord> {
    await this.when(`the record of request ${index}`, () => this.requests.at(index) !== undefined);
    return this.requests.at(index) as RequestRecord;
  }

  apply(change: PartialDelta): void {
    this.plane.applyModel({
      ...emptyDelta,
      ...change,
      removed: { ...emptyDelta.removed, ...change.removed },
    });
  }

  /** A service with one plain endpoint for each port on loopback. */
  service(
    name: string,
    targets: readonly number[],
    fields: Partial<Service> & {
      appProtocol?: ServicePort['appProtocol'];
      workload?: Partial<Workload>;
    } = {},
  ): Service {
    const { appProtocol = 'unknown', workload, ...own } = fields;
    const port: ServicePort = { name: 'http', servicePort, targetPort: 0, appProtocol };
    const service = makeService('shop', `${name}.shop.svc.cluster.local`, {
      name,
      addresses: [vip(`10.96.0.${this.#nextVip++}`)],
      ports: [port],
      waypoint: waypointAddress,
      ...own,
    });
    this.apply({ services: [service] });
    this.endpoints(service, targets, workload);
    return service;
  }

  /** Replaces the endpoints of a service. */
  endpoints(
    service: Service,
    targets: readonly number[],
    fields: Partial<Workload> = {},
  ): readonly Workload[] {
    const workloads = targets.map((targetPort) =>
      makeWorkload(`${service.name}-${targetPort}`, {
        name: `${service.name}-${targetPort}`,
        addresses: [loopback],
        tunnelProtocol: 'none',
        serviceAccount: service.name,
        services: new Map([[service.key, [{ servicePort, targetPort }]]]),
        ...fields,
      }),
    );
    const kept = new Set(workloads.map(({ uid }) => uid));
    const gone = this.plane.snapshot.endpointsOf(service.key).filter(({ uid }) => !kept.has(uid));
    this.apply({ workloads, removed: { workloads: gone.map(({ uid }) => uid) } });
    return workloads;
  }

  removeWorkload(uid: WorkloadUid): void {
    this.apply({ removed: { workloads: [uid] } });
  }

  /** The routes of the service's port. */
  routes(service: Service, routes: Partial<RouteSet>): void {
    const routing: ServiceRouting = {
      key: `${gateway}|${service.key}` as RoutingKey,
      gateway,
      service: service.key,
      ports: [{ port: servicePort, routes: { http: [], tcp: undefined, tls: [], ...routes }, consumers: [] }],
    };
    this.apply({ routings: [routing] });
  }

  /** A plain listener for the service; returns its port on loopback. */
  listen(service: Service): number {
    const fd = listenTcp({ address: loopback, port: 0 });
    const { port } = localAddress(fd);
    this.plane.listenPlain({ fd, service: service.key, port: servicePort });
    return port;
  }

  /** A server of the test, listening on loopback; closed at the end. Returns its port. */
  async serve(server: Server): Promise<number> {
    const sockets = new Set<Socket>();
    server.on('connection', (socket: Socket) => {
      sockets.add(socket);
      socket.on('error', () => {});
      socket.once('close', () => sockets.delete(socket));
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    this.onClose(async () => {
      for (const socket of sockets) socket.destroy();
      const closed = once(server, 'close');
      server.close();
      await this.until('a server of the test to close', closed);
    });
    return (server.address() as AddressInfo).port;
  }

  onClose(cleanUp: () => unknown): void {
    this.#cleanUp.push(cleanUp);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const cleanUp of this.#cleanUp.reverse()) await cleanUp();
    this.plane.close('the test is over');
    await this.when('everything to end', () => {
      const { connections, requests } = this.plane.active;
      const upstream = this.plane.upstreamConnections;
      return connections + requests + upstream.connections + upstream.tunnels === 0;
    });
    const left = this.plane.budget.used;
    this.reactor[Symbol.dispose]();
    if (left > 0) throw new Error(`${left} bytes of the buffer budget were not given back`);
    if (this.problems.length > 0)
      throw new AggregateError(
        this.problems,
        `The data plane had problems: ${this.problems.map(describe).join('; ')}`,
      );
  }

  #report(): PlaneReport {
    return {
      started: () => this.traceHeaders,
      request: (record) => this.requests.push(record),
      opened: (record) => this.opened.push(record),
      connection: (record) => this.connections.push(record),
      refused: (refusal) => this.refusals.push(refusal),
      configure: () => {},
      problem: (message) => this.problems.push(new Error(message)),
    };
  }
}

let ruleNumber = 0;

/** An HTTPRoute rule that matches everything and goes to the service, but for what `fields` say. */
export function rule(backends: readonly (Service | Backend)[], fields: Partial<HttpRule> = {}): HttpRule {
  return {
    name: { kind: 'HTTPRoute', namespace: 'shop', name: 'route', rule: String(ruleNumber++) },
    matches: [],
    filters: [],
    backends: backends.map((backend) => ('weight' in backend ? backend : toService(backend.key))),
    timeouts: { requestMs: undefined, backendRequestMs: undefined },
    retry: undefined,
    sessionPersistence: undefined,
    trafficPolicy: undefined,
    ...fields,
  };
}

export function toService(service: ServiceKey, weight = 1): Backend {
  return { weight, target: { kind: 'service', service, port: servicePort }, filters: [] };
}

function describe(problem: unknown): string {
  return problem instanceof Error ? (problem.stack ?? problem.message) : String(problem);
}
