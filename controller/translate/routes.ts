// HTTPRoutes, GRPCRoutes, TCPRoutes and TLSRoutes with a Service or ServiceEntry as parent (GAMMA) to the routing of the
// services that have a waypoint, and a status for each parent. Older routes come first, then by namespace and name;
// which of several matches is the most specific is the waypoint's business.

import type { L4Rule, ServiceRouting } from '../../mesh/model/routing.ts';
import type { ServiceKey } from '../../mesh/model/service.ts';
import type { GrpcRouteObject } from '../resources/gateway-grpc-route.ts';
import type { HttpRouteObject } from '../resources/gateway-http-route.ts';
import type { RouteKindName } from '../resources/gateway-kinds.ts';
import type { L4RouteRuleSpec, TcpRouteObject, TlsRouteObject } from '../resources/gateway-l4-routes.ts';
import type { Resources } from '../resources/resources.ts';
import type { Waypoints } from './gateways.ts';
import { translateGrpcRule, translateHttpRule } from './http-rules.ts';
import { byPrecedence } from './precedence.ts';
import { BackendResolver, objectKeyOf, servicesByObject } from './route-backends.ts';
import { RouteNotes, type RuleNotes } from './route-draft.ts';
import { routeParents, type RouteParent } from './route-parents.ts';
import { parentStatus } from './route-statuses.ts';
import { RouteTable, serviceRouting } from './route-table.ts';
import type { ServiceDraft } from './service-draft.ts';
import type { Objection, PartStatus, StatusCollector } from './statuses.ts';
import type { HttpTrafficPolicies } from './traffic-policies.ts';
import type { Bindings } from './waypoint-bindings.ts';

export interface RoutesContext {
  readonly resources: Resources;
  readonly statuses: StatusCollector;
  readonly waypoints: Waypoints;
  readonly bindings: Bindings;
  readonly services: readonly ServiceDraft[];
  readonly policies: HttpTrafficPolicies;
}

type RouteObject = { readonly metadata: HttpRouteObject['metadata'] } & (
  | { readonly kind: 'HTTPRoute'; readonly spec: HttpRouteObject['spec'] }
  | { readonly kind: 'GRPCRoute'; readonly spec: GrpcRouteObject['spec'] }
  | { readonly kind: 'TCPRoute'; readonly spec: TcpRouteObject['spec'] }
  | { readonly kind: 'TLSRoute'; readonly spec: TlsRouteObject['spec'] }
);

/** Every service of every waypoint has a routing, with or without routes. */
export function translateRoutes(context: RoutesContext): readonly ServiceRouting[] {
  const { resources, services, bindings, policies } = context;
  const byObject = servicesByObject(services);
  const resolver = new BackendResolver(resources, byObject);
  const table = new RouteTable();
  const served = new Set([...bindings.served.values()].flat());
  for (const route of byPrecedence(allRoutes(resources))) {
    const refs = route.spec.parentRefs;
    const parents = routeParents({ services: byObject, waypoints: context.waypoints }, route.kind, {
      metadata: route.metadata,
      refs,
    });
    // Without a parent of ours nothing is said, so that what was said before is taken back.
    if (parents.length === 0) context.statuses.describe(route.kind, route.metadata, { parents: [] });
    else attach(context, { route, parents, resolver, table, served });
  }
  const byKey = new Map<ServiceKey, ServiceDraft>(services.map((draft) => [draft.service.key, draft]));
  return [...bindings.served].flatMap(([gateway, drafts]) =>
    drafts.map((draft) => serviceRouting({ gateway, draft, table, policies, byKey })),
  );
}

/** Kinds in a fixed order, which decides between routes of one age and name. */
function allRoutes(resources: Resources): readonly RouteObject[] {
  const ofKind = <K extends RouteKindName>(kind: K) =>
    Array.from(resources[kind].values(), ({ metadata, spec }) => ({ kind, metadata, spec }) as RouteObject);
  return [...ofKind('HTTPRoute'), ...ofKind('GRPCRoute'), ...ofKind('TCPRoute'), ...ofKind('TLSRoute')];
}

interface Attachment {
  readonly route: RouteObject;
  readonly parents: readonly RouteParent[];
  readonly resolver: BackendResolver;
  readonly table: RouteTable;
  /** Services that a waypoint serves. */
  readonly served: ReadonlySet<ServiceDraft>;
}

function attach(context: RoutesContext, attachment: Attachment): void {
  const { route, parents, resolver, served: serviced } = attachment;
  const own = parents.flatMap(({ services }) => services.map(({ draft }) => objectKeyOf(draft)));
  const notes = new RouteNotes(route.kind, route.metadata, new Set(own));
  const rules = translateRules(context, route, { resolver, notes });
  const parts: PartStatus[] = parents.map((parent) => {
    const shadowed = place(attachment, { parent, rules, enabled: rules.length > 0 });
    const served = parent.services.some(({ draft }) => serviced.has(draft));
    return parentStatus({
      parent,
      notes,
      ruleCount: route.spec.rules.length,
      kept: rules.length,
      shadowed,
      served,
    });
  });
  context.statuses.describe(route.kind, route.metadata, { parents: parts });
}

type Placed =
  | { readonly kind: 'http'; readonly rule: NonNullable<ReturnType<typeof translateHttpRule>> }
  | { readonly kind: 'tcp'; readonly rule: L4Rule }
  | { readonly kind: 'tls'; readonly rule: L4Rule; readonly hostnames: readonly string[] };

function translateRules(
  { policies }: RoutesContext,
  route: RouteObject,
  { resolver, notes }: { readonly resolver: BackendResolver; readonly notes: RouteNotes },
): readonly Placed[] {
  const { namespace, name } = route.metadata;
  switch (route.kind) {
    case 'HTTPRoute':
    case 'GRPCRoute': {
      const trafficPolicy = policies.httpTrafficPolicyFor(route.kind, namespace, name);
      return route.spec.rules.flatMap((rule, index) => {
        const context = { resolver, notes: notes.rule(index, rule.name), trafficPolicy };
        const made =
          route.kind === 'HTTPRoute'
            ? translateHttpRule(context, rule as Parameters<typeof translateHttpRule>[1])
            : translateGrpcRule(context, rule as Parameters<typeof translateGrpcRule>[1]);
        return made === undefined ? [] : [{ kind: 'http' as const, rule: made }];
      });
    }
    case 'TCPRoute':
      return route.spec.rules
        .slice(0, 1)
        .map((rule) => ({ kind: 'tcp', rule: l4Rule(resolver, rule, notes.rule(0, rule.name)) }));
    case 'TLSRoute':
      return route.spec.rules.slice(0, 1).map((rule) => ({
        kind: 'tls',
        rule: l4Rule(resolver, rule, notes.rule(0, rule.name)),
        hostnames: route.spec.hostnames,
      }));
  }
}

function l4Rule(resolver: BackendResolver, rule: L4RouteRuleSpec, notes: RuleNotes): L4Rule {
  const backends = rule.backendRefs.map((backend, index) => ({
    weight: backend.weight,
    target: resolver.resolve(backend, ['backendRefs', index], notes),
    filters: [],
  }));
  return { name: notes.name, backends };
}

/** Puts the rules where the parent says. Objects where another route decides alone. */
function place(
  { route, table }: Attachment,
  { parent, rules, enabled }: { parent: RouteParent; rules: readonly Placed[]; enabled: boolean },
): readonly Objection[] {
  if (!enabled) return [];
  const shadowed: Objection[] = [];
  for (const { draft, ports } of parent.services) {
    for (const port of ports) {
      const set = table.of(draft, port, route.metadata.namespace);
      for (const placed of rules) {
        if (placed.kind === 'http') set.http.push(placed.rule);
        else if (placed.kind === 'tls') set.tls.push({ ...placed.rule, hostnames: placed.hostnames });
        else if (set.tcp === undefined || set.tcp === placed.rule) set.tcp = placed.rule;
        else shadowed.push(olderRoute(set.tcp, port, parent));
      }
    }
  }
  return shadowed;
}

function olderRoute({ name }: L4Rule, port: number, { at }: RouteParent): Objection {
  const message = `TCPRoute ${name.namespace}/${name.name} came first and decides for port ${port}`;
  return { reason: 'OlderRoute', message, field: at };
}
