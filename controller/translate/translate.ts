// Resources to the model and the statuses to write: pure, total and sorted. The same resources always give the same
// result, no object makes it throw, and a malformed one costs nobody but itself.

import type { AuthorizationPolicy } from '../../mesh/model/authorization.ts';
import { defaultMeshConfig } from '../../mesh/model/mesh-config.ts';
import type { Model } from '../../mesh/model/model.ts';
import type { GatewayKey } from '../../mesh/model/routing.ts';
import type { Resources } from '../resources/resources.ts';
import { translateAuthorizationPolicies } from './authorization-policies.ts';
import { joinEndpointSlices, joinSelectedWorkloads } from './endpoints.ts';
import { enrolledNamespaces, unknownMode } from './enrolment.ts';
import { withEnrolmentOff } from './letting-go.ts';
import { translateWorkloadEntries } from './external-workloads.ts';
import { finishGateways } from './gateway-statuses.ts';
import { translateGateways, type Waypoint, waypointServices } from './gateways.ts';
import { translateMeshConfig } from './mesh-config.ts';
import { translatePeerAuthentications } from './peer-authentications.ts';
import { translatePods } from './pods.ts';
import { withAncestors } from './policy-ancestors.ts';
import { compareText } from './precedence.ts';
import { translateRequestAuthentications } from './request-authentications.ts';
import { translateRoutes } from './routes.ts';
import { translateServiceEntries } from './service-entries.ts';
import { finishService, type ServiceDraft } from './service-draft.ts';
import { translateServices } from './services.ts';
import { type ObjectStatus, StatusCollector } from './statuses.ts';
import { applyTrafficPolicies } from './traffic-policies.ts';
import { bindWaypoints } from './waypoint-bindings.ts';
import { finishWorkload, type WorkloadDraft } from './workload-draft.ts';

export interface TranslateOptions {
  /** First part of every workload's uid; Istio's default is `Kubernetes`. */
  readonly clusterId: string;
  /** Used unless MeshConfig names another. Default `cluster.local`. */
  readonly trustDomain?: string;
  /** Policies of this namespace cover the mesh. Default `weft-system`. */
  readonly rootNamespace?: string;
  /** Of the mesh's own pods; default the root namespace. */
  readonly ownNamespace?: string;
  /**
   * The resources come from files of the machine's owner: annotations then say where a pod's network namespace is and
   * which addresses it has. Never set for a cluster, where whoever may write a pod may write annotations.
   */
  readonly standalone?: boolean;
}

export interface Translation {
  readonly model: Model;
  readonly statuses: readonly ObjectStatus[];
}

export function translate(resources: Resources, options: TranslateOptions): Translation {
  const steps = translateInSteps(resources, options);
  for (;;) {
    const step = steps.next();
    if (step.done === true) return step.value;
  }
}

/** The same a piece at a time, so that a large mesh does not keep the processor: 10,000 pods are 60 ms in all. */
export function* translateInSteps(
  given: Resources,
  options: TranslateOptions,
): Generator<undefined, Translation, undefined> {
  const { clusterId, rootNamespace = 'weft-system', standalone = false } = options;
  const { ownNamespace: own = rootNamespace } = options;
  const resources = withEnrolmentOff(given, { own });
  const statuses = new StatusCollector();
  const ownTrustDomain = options.trustDomain ?? defaultMeshConfig.trustDomain;
  const meshConfig = translateMeshConfig(resources, statuses, { trustDomain: ownTrustDomain });
  const waypoints = translateGateways({ resources, statuses });
  const { trustDomain } = meshConfig;
  const context = { resources, statuses, clusterId, standalone, trustDomain, waypoints };
  reportNamespaces(resources, statuses);

  const pods = translatePods(context);
  yield;
  const selectable = [...pods.drafts, ...translateWorkloadEntries(context)];
  const { services, workloads, standIns } = joinServices(context, selectable);
  yield;
  const bindings = bindWaypoints(context, { services, workloads });

  const byNamespace = Map.groupBy(workloads, ({ base }) => base.namespace);
  const policiesContext = { ...context, rootNamespace, services, workloads, byNamespace };
  const policies = [
    ...translateAuthorizationPolicies(policiesContext),
    ...translatePeerAuthentications(policiesContext, meshConfig),
  ];
  const requestAuthentications = translateRequestAuthentications(policiesContext);
  yield;
  const trafficPolicies = applyTrafficPolicies(context, services);
  yield;
  const routings = translateRoutes({ ...context, bindings, services, policies: trafficPolicies });
  const waypointConfigs = finishGateways(context, waypoints, { standIns, bindings, byNamespace });

  yield;
  const finished = workloads.map(finishWorkload);
  yield;
  const model: Model = {
    workloads: sortedMap(finished, (workload) => workload.uid),
    services: sortedMap(services.map(finishService), (service) => service.key),
    policies: sortedMap(policies, (policy: AuthorizationPolicy) => policy.key),
    pods: sortedMap(pods.nodePods, (pod) => pod.uid),
    waypoints: sortedMap(waypointConfigs, ({ gateway }) => gateway),
    routings: sortedMap(routings, ({ key }) => key),
    requestAuthentications: sortedMap(requestAuthentications, ({ key }) => key),
    meshConfig,
    enrolledNamespaces: enrolledNamespaces(resources, { own }),
  };
  return { model, statuses: withAncestors(statuses.finish(), resources) };
}

type JoinContext = Parameters<typeof translatePods>[0] & { readonly waypoints: Map<GatewayKey, Waypoint> };

/** All services with their endpoints, and the workloads with those that only endpoints brought in. */
function joinServices(
  context: JoinContext,
  selectable: readonly WorkloadDraft[],
): {
  services: readonly ServiceDraft[];
  workloads: readonly WorkloadDraft[];
  /** Those of `services` that stand for waypoints. */
  standIns: readonly ServiceDraft[];
} {
  const byNamespace = Map.groupBy(selectable, ({ base }) => base.namespace);
  const { own: standIns, others: own } = waypointServices(
    context,
    context.waypoints,
    translateServices(context),
  );
  joinSelectedWorkloads(context, own, byNamespace);
  const fromSlices = joinEndpointSlices(context, own, selectable);
  const taken = new Set([...own, ...standIns].map(({ service }) => service.key));
  const entries = translateServiceEntries(context, taken, byNamespace);
  return {
    services: [...own, ...standIns, ...entries.services],
    workloads: [...selectable, ...fromSlices, ...entries.workloads],
    standIns,
  };
}

function reportNamespaces(resources: Resources, statuses: StatusCollector): void {
  for (const { metadata } of resources.Namespace.values()) {
    const unknown = unknownMode(metadata.labels);
    if (unknown === undefined) continue;
    const message = `Label ${unknown.label}: "${unknown.value}" is neither "ambient" nor "none", so its pods are not in the mesh`;
    const field = ['metadata', 'labels', unknown.label];
    statuses.reject('Namespace', metadata, { reason: 'UnknownMode', message, field });
  }
}

function sortedMap<K extends string, V>(values: readonly V[], keyOf: (value: V) => K): ReadonlyMap<K, V> {
  return new Map(values.map((value) => [keyOf(value), value] as const).sort(([a], [b]) => compareText(a, b)));
}
