// targetRefs of a policy about requests to what they name in the model: services of a Service or ServiceEntry, or a
// waypoint. What does not exist is reported; a Gateway that is none of ours, too.

import type { RequestTarget } from '../../mesh/model/request-authentication.ts';
import type { GatewayKey } from '../../mesh/model/routing.ts';
import type { ObjectMeta } from '../resources/object-meta.ts';
import type { TargetRef } from '../resources/own-kinds.ts';
import { objectKey, type Resources } from '../resources/resources.ts';
import type { Waypoints } from './gateways.ts';
import type { ServiceDraft } from './service-draft.ts';
import type { StatusCollector } from './statuses.ts';

export interface TargetsContext {
  readonly resources: Resources;
  readonly statuses: StatusCollector;
  readonly waypoints: Waypoints;
  readonly services: readonly ServiceDraft[];
}

export interface ResolvedTargets {
  readonly targets: readonly RequestTarget[];
  /** Those of the targets that are services. */
  readonly services: readonly ServiceDraft[];
}

export function resolveTargets(
  context: TargetsContext,
  object: {
    readonly kind: 'AuthorizationPolicy' | 'RequestAuthentication';
    readonly metadata: ObjectMeta;
    readonly refs: readonly TargetRef[];
  },
): ResolvedTargets {
  const { kind, metadata, refs } = object;
  const targets = new Map<string, RequestTarget>();
  const services: ServiceDraft[] = [];
  for (const [index, ref] of refs.entries()) {
    const field = ['spec', 'targetRefs', index];
    const found = ref.kind === 'Gateway' ? [] : draftsOf(context, ref, metadata.namespace);
    services.push(...found);
    for (const { service } of found) targets.set(service.key, { kind: 'service', service: service.key });
    if (ref.kind !== 'Gateway') {
      if (found.length > 0) continue;
      const message = `${ref.kind} ${metadata.namespace}/${ref.name} does not exist`;
      context.statuses.unresolved(kind, metadata, { reason: 'TargetNotFound', message, field });
      continue;
    }
    const gateway = objectKey(metadata.namespace, ref.name) as GatewayKey;
    // Also of a Gateway that is not usable yet: should it become a waypoint, nothing passes before the policy counts.
    targets.set(`gateway ${gateway}`, { kind: 'gateway', gateway });
    if (context.waypoints.has(gateway)) continue;
    const exists = context.resources.Gateway.has(gateway);
    const message = `Gateway ${gateway} ${exists ? 'is no waypoint of Weft that can be used' : 'does not exist'}`;
    context.statuses.unresolved(kind, metadata, {
      reason: exists ? 'UnsupportedTarget' : 'TargetNotFound',
      message,
      field,
    });
  }
  return { targets: [...targets.values()], services };
}

/** By kind, namespace and name; made once for each translation. */
const indexes = new WeakMap<readonly ServiceDraft[], Map<string, ServiceDraft[]>>();

function draftsOf(
  { services }: TargetsContext,
  { kind, name }: TargetRef,
  namespace: string,
): readonly ServiceDraft[] {
  let index = indexes.get(services);
  if (index === undefined) {
    index = Map.groupBy(services, ({ kind, metadata }) => `${kind}/${metadata.namespace}/${metadata.name}`);
    indexes.set(services, index);
  }
  return index.get(`${kind}/${namespace}/${name}`) ?? [];
}
