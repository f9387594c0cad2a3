// A destination as the model says it is now, with what requests need of it looked up and compiled. Made anew when the
// model changes and somebody asks, shared by all connections to the same destination from the same namespace.

import type { IpAddress } from '../../mesh/model/ip-address.ts';
import type { JwtRule } from '../../mesh/model/request-authentication.ts';
import type { GatewayKey, PortRouting, RouteSet, RoutingKey } from '../../mesh/model/routing.ts';
import type { Service, ServiceKey, ServicePort } from '../../mesh/model/service.ts';
import type { HttpTrafficPolicy } from '../../mesh/model/traffic-policy.ts';
import type { Workload } from '../../mesh/model/workload.ts';
import type { Snapshot } from '../../mesh/state/snapshot.ts';
import { JwtRules } from '../jwt/jwt-rules.ts';
import { PortRoutes, routesFor } from '../routing/consumer-routes.ts';
import type { CompiledRoutes } from '../routing/router.ts';
import { servesService } from './classify.ts';
import type { ClientConnection } from './client-connection.ts';

export interface DestinationView {
  readonly generation: number;
  /** False: it is gone, or no longer served here; connections to it are to end when their requests have. */
  readonly served: boolean;
  readonly service: Service | undefined;
  readonly workload: Workload | undefined;
  /** Undefined for a workload, and where the port no longer exists. */
  readonly port: ServicePort | undefined;
  /** Of the port; of a workload's own port, what the services say that lead there. */
  readonly appProtocol: ServicePort['appProtocol'];
  readonly http: CompiledRoutes | undefined;
  readonly routes: RouteSet | undefined;
  /** L7 policy of the service, its Gateway's below it. */
  readonly settings: HttpTrafficPolicy | undefined;
  /** Own policies of other services that its routes lead to. */
  readonly backendSettings: ReadonlyMap<ServiceKey, HttpTrafficPolicy>;
  readonly tokenRules: readonly JwtRule[];
  /** Of the destination, for policies: a workload's own port, the service port's target port, 0 for a named one. */
  readonly policyPort: number;
  readonly destination: IpAddress;
  readonly forwardClientCert: boolean;
  /** Who may ask which policy decided; undefined: nobody. */
  readonly explainPolicyTo: readonly string[] | undefined;
}

/** More destinations than one worker has in use between two changes of the model. */
const maxViews = 10_000;

const noSettings: ReadonlyMap<ServiceKey, HttpTrafficPolicy> = new Map();

export interface DestinationViewsOptions {
  readonly gateway: GatewayKey;
  /** Uniform in [0, 1). */
  readonly random: () => number;
  /** Is told of each match that takes no requests, when its routes are first used. */
  readonly problem: (message: string) => void;
}

export class DestinationViews {
  readonly #gateway: GatewayKey;
  readonly #random: () => number;
  readonly #problem: (message: string) => void;
  readonly #tokenRules: JwtRules;
  readonly #compiled = new WeakMap<PortRouting, PortRoutes>();
  #views = new Map<string, DestinationView>();
  #generation = -1;

  constructor({ gateway, random, problem }: DestinationViewsOptions) {
    this.#gateway = gateway;
    this.#random = random;
    this.#problem = problem;
    this.#tokenRules = new JwtRules(gateway);
  }

  viewFor(snapshot: Snapshot, client: ClientConnection): DestinationView {
    if (snapshot.generation !== this.#generation || this.#views.size >= maxViews) {
      this.#generation = snapshot.generation;
      this.#views.clear();
    }
    const { service, target, servicePort, namespace, destination } = client;
    const key = `${service?.key ?? ''}|${target?.uid ?? ''}|${servicePort}|${namespace}|${destination}`;
    let view = this.#views.get(key);
    if (view === undefined) {
      view =
        service === undefined
          ? this.#ofWorkload(snapshot, client)
          : this.#ofService(snapshot, client, service);
      this.#views.set(key, view);
    }
    return view;
  }

  #ofService(snapshot: Snapshot, client: ClientConnection, known: Service): DestinationView {
    const service = snapshot.serviceByKey(known.key);
    const port = service?.ports.find(({ servicePort }) => servicePort === client.servicePort);
    const routing = snapshot.routings.get(`${this.#gateway}|${known.key}` as RoutingKey);
    const portRouting = routing?.ports.find((candidate) => candidate.port === client.servicePort);
    const namespace = client.peer === undefined ? undefined : client.namespace;
    return {
      generation: snapshot.generation,
      served:
        service !== undefined &&
        port !== undefined &&
        (client.listener === 'plain' || servesService(snapshot, service, this.#gateway)),
      service,
      workload: undefined,
      port,
      appProtocol: port?.appProtocol ?? 'unknown',
      http: portRouting === undefined ? undefined : this.#routesOf(portRouting).for(namespace),
      routes: portRouting === undefined ? undefined : routesFor(portRouting, namespace),
      settings: routing?.trafficPolicy ?? service?.trafficPolicy?.http,
      backendSettings: new Map(routing?.backendPolicies?.map(({ service: of, policy }) => [of, policy])),
      tokenRules: this.#tokenRules.rulesFor(snapshot, { service: service ?? known }),
      policyPort: port?.targetPort ?? 0,
      destination: client.destination,
      ...gatewaySettings(snapshot, this.#gateway),
    };
  }

  #ofWorkload(snapshot: Snapshot, client: ClientConnection): DestinationView {
    const workload = client.target === undefined ? undefined : snapshot.workloadByUid(client.target.uid);
    return {
      generation: snapshot.generation,
      served: workload?.addresses.includes(client.destination) === true,
      service: undefined,
      workload,
      port: undefined,
      appProtocol:
        workload === undefined ? 'unknown' : protocolOfPort(snapshot, workload, client.servicePort),
      http: undefined,
      routes: undefined,
      settings: undefined,
      backendSettings: noSettings,
      tokenRules: workload === undefined ? [] : this.#tokenRules.rulesFor(snapshot, { workload }),
      policyPort: client.servicePort,
      destination: client.destination,
      ...gatewaySettings(snapshot, this.#gateway),
    };
  }

  #routesOf(port: PortRouting): PortRoutes {
    let routes = this.#compiled.get(port);
    if (routes === undefined) {
      routes = new PortRoutes(port, { random: this.#random, problem: this.#problem });
      this.#compiled.set(port, routes);
    }
    return routes;
  }
}

/** Unknown where no service leads to the port, or they do not agree. */
function protocolOfPort(snapshot: Snapshot, workload: Workload, own: number): ServicePort['appProtocol'] {
  let found: ServicePort['appProtocol'] | undefined;
  for (const [key, mappings] of workload.services) {
    for (const { servicePort, targetPort, appProtocol } of snapshot.serviceByKey(key)?.ports ?? []) {
      const mapped = mappings.find((mapping) => mapping.servicePort === servicePort)?.targetPort;
      if ((mapped || targetPort || servicePort) !== own) continue;
      if (found !== undefined && found !== appProtocol) return 'unknown';
      found = appProtocol;
    }
  }
  return found ?? 'unknown';
}

function gatewaySettings(
  snapshot: Snapshot,
  gateway: GatewayKey,
): Pick<DestinationView, 'forwardClientCert' | 'explainPolicyTo'> {
  const config = snapshot.waypoints.get(gateway);
  return {
    forwardClientCert: config?.forwardClientCert ?? false,
    explainPolicyTo: config?.explainPolicyTo,
  };
}
