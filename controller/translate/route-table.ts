// The routes of every service port while they are collected, in the order that breaks ties, and the ServiceRoutings
// that come of them: one for each service of each waypoint, with or without routes.

import type {
  Backend,
  GatewayKey,
  HttpRule,
  L4Rule,
  PortRouting,
  RouteSet,
  RoutingKey,
  ServiceRouting,
} from '../../mesh/model/routing.ts';
import type { ServiceKey } from '../../mesh/model/service.ts';
import type { HttpTrafficPolicy } from '../../mesh/model/traffic-policy.ts';
import { compareText } from './precedence.ts';
import type { ServiceDraft } from './service-draft.ts';
import { type HttpTrafficPolicies, mergeHttpTrafficPolicies } from './traffic-policies.ts';

export type TlsRule = RouteSet['tls'][number];

interface SetDraft {
  readonly http: HttpRule[];
  tcp: L4Rule | undefined;
  readonly tls: TlsRule[];
}

interface PortDraft {
  readonly owner: SetDraft;
  readonly consumers: Map<string, SetDraft>;
}

export class RouteTable {
  readonly #ports = new Map<string, PortDraft>();

  /** Routes of the service's own namespace are its owner's, all others concern clients of their own namespace only. */
  of(draft: ServiceDraft, port: number, routeNamespace: string): SetDraft {
    const key = `${draft.service.key} ${port}`;
    let found = this.#ports.get(key);
    if (found === undefined) {
      found = { owner: emptySet(), consumers: new Map() };
      this.#ports.set(key, found);
    }
    if (routeNamespace === draft.service.namespace) return found.owner;
    let set = found.consumers.get(routeNamespace);
    if (set === undefined) {
      set = emptySet();
      found.consumers.set(routeNamespace, set);
    }
    return set;
  }

  portsOf({ service }: ServiceDraft): readonly PortRouting[] {
    return service.ports
      .map(({ servicePort }) => this.#port(service.key, servicePort))
      .sort((a, b) => a.port - b.port);
  }

  #port(service: ServiceKey, port: number): PortRouting {
    const found = this.#ports.get(`${service} ${port}`);
    const consumers = [...(found?.consumers ?? [])].map(([namespace, routes]) => ({ namespace, routes }));
    return {
      port,
      routes: found?.owner ?? emptySet(),
      consumers: consumers.sort((a, b) => compareText(a.namespace, b.namespace)),
    };
  }
}

function emptySet(): SetDraft {
  return { http: [], tcp: undefined, tls: [] };
}

/** `byKey` has every service of the mesh. */
export function serviceRouting(options: {
  readonly gateway: GatewayKey;
  readonly draft: ServiceDraft;
  readonly table: RouteTable;
  readonly policies: HttpTrafficPolicies;
  readonly byKey: ReadonlyMap<ServiceKey, ServiceDraft>;
}): ServiceRouting {
  const { gateway, draft, table, policies, byKey } = options;
  const [namespace = '', name = ''] = gateway.split('/');
  const ofGateway = policies.httpTrafficPolicyFor('Gateway', namespace, name);
  const policyOf = ({ kind, metadata }: ServiceDraft): HttpTrafficPolicy | undefined =>
    policies.httpTrafficPolicyFor(kind, metadata.namespace, metadata.name);
  const ports = table.portsOf(draft);
  const service = draft.service.key;
  const trafficPolicy = mergeHttpTrafficPolicies(ofGateway, policyOf(draft));
  const backendPolicies = otherServices(ports, service).flatMap((key) => {
    const backend = byKey.get(key);
    const policy = backend === undefined ? undefined : policyOf(backend);
    return policy === undefined ? [] : [{ service: key, policy }];
  });
  return {
    key: `${gateway}|${service}` as RoutingKey,
    gateway,
    service,
    ports,
    ...(trafficPolicy === undefined ? {} : { trafficPolicy }),
    ...(backendPolicies.length === 0 ? {} : { backendPolicies }),
  };
}

/** Services that rules lead to besides `own`, also by mirror and external authorization; sorted. */
function otherServices(ports: readonly PortRouting[], own: ServiceKey): readonly ServiceKey[] {
  const keys = new Set<ServiceKey>();
  const note = (target: Backend['target']): void => {
    if (target.kind === 'service' && target.service !== own) keys.add(target.service);
  };
  for (const { routes, consumers } of ports) {
    for (const set of [routes, ...consumers.map((consumer) => consumer.routes)]) {
      for (const target of targetsOf(set)) note(target);
    }
  }
  return [...keys].sort(compareText);
}

function* targetsOf({ http, tcp, tls }: RouteSet): Iterable<Backend['target']> {
  for (const rule of [...http, ...tls, ...(tcp === undefined ? [] : [tcp])]) {
    for (const { target } of rule.backends) yield target;
  }
  for (const { filters, backends } of http) {
    for (const filter of [...filters, ...backends.flatMap((backend) => backend.filters)]) {
      if (filter.kind === 'mirror' || filter.kind === 'external-auth') yield filter.target;
    }
  }
}
