// Where a route's backendRefs lead: Services and ServiceEntries, in another namespace only if a ReferenceGrant there
// says so. A reference that leads nowhere keeps its share of the requests, which are answered with 500 (Gateway API).

import type { Backend } from '../../mesh/model/routing.ts';
import type { BackendObjectReference } from '../resources/gateway-fields.ts';
import { gatewayGroup } from '../resources/gateway-kinds.ts';
import type { Resources } from '../resources/resources.ts';
import { groupOf, ownApiVersion } from '../resources/resource-kind.ts';
import type { FieldPath } from '../source/problem.ts';
import type { RuleNotes } from './route-draft.ts';
import type { ServiceDraft } from './service-draft.ts';
import type { Objection } from './statuses.ts';

export const ownGroup = groupOf(ownApiVersion);

/** Services by kind, namespace and name of the object they come from; a ServiceEntry makes one for each of its hosts. */
export type ServicesByObject = ReadonlyMap<string, readonly ServiceDraft[]>;

export function servicesByObject(services: readonly ServiceDraft[]): ServicesByObject {
  return Map.groupBy(services, objectKeyOf);
}

export function objectKeyOf({ kind, metadata }: Pick<ServiceDraft, 'kind' | 'metadata'>): string {
  return `${kind}/${metadata.namespace}/${metadata.name}`;
}

/** The kind of service object a reference names; undefined for all others. */
export function serviceKindOf(group: string, kind: string): ServiceDraft['kind'] | undefined {
  if (group === '' && kind === 'Service') return 'Service';
  return group === ownGroup && kind === 'ServiceEntry' ? 'ServiceEntry' : undefined;
}

export class BackendResolver {
  readonly #services: ServicesByObject;
  readonly #grants: ReadonlySet<string>;

  constructor(resources: Resources, services: ServicesByObject) {
    this.#services = services;
    this.#grants = grantKeys(resources);
  }

  /** Notes what is wrong; `field` is relative to the rule. */
  resolve(reference: BackendObjectReference, field: FieldPath, notes: RuleNotes): Backend['target'] {
    const found = this.#find(reference, notes);
    if ('kind' in found) return found;
    notes.unresolved(field, found);
    return { kind: 'invalid', reason: found.message };
  }

  #find(reference: BackendObjectReference, { route }: RuleNotes): Backend['target'] | Objection {
    const { group, kind, name, port } = reference;
    const from = route.metadata.namespace;
    const namespace = reference.namespace ?? from;
    const serviceKind = serviceKindOf(group, kind);
    if (serviceKind === undefined) {
      const message = `${group === '' ? kind : `${kind} of ${group}`} is no backend here: only Service and ServiceEntry (${ownGroup}) are`;
      return { reason: 'InvalidKind', message };
    }
    const text = `${kind} ${namespace}/${name}`;
    const key = `${serviceKind}/${namespace}/${name}`;
    // Its own parent needs no grant: that is where the requests were going anyway (consumer routes).
    const permitted = namespace === from || route.parents.has(key);
    if (!permitted && !this.#isGranted({ group, kind, namespace, name }, route)) {
      const message = `${text} is in another namespace, where no ReferenceGrant permits it`;
      return { reason: 'RefNotPermitted', message };
    }
    // Of a ServiceEntry with several hosts the first is meant: a reference cannot name one.
    const service = this.#services.get(key)?.[0]?.service;
    if (service === undefined) return { reason: 'BackendNotFound', message: `${text} does not exist` };
    if (port === undefined)
      return { reason: 'BackendNotFound', message: `${text}: the reference names no port` };
    if (!service.ports.some(({ servicePort }) => servicePort === port))
      return { reason: 'BackendNotFound', message: `${text} has no port ${port}` };
    return { kind: 'service', service: service.key, port };
  }

  #isGranted(
    to: { group: string; kind: string; namespace: string; name: string },
    { kind, metadata }: RuleNotes['route'],
  ): boolean {
    const from = `${gatewayGroup}/${kind}/${metadata.namespace}`;
    const target = `${to.group}/${to.kind}/${to.namespace}`;
    return this.#grants.has(`${from} ${target}/${to.name}`) || this.#grants.has(`${from} ${target}/`);
  }
}

/** `FROM TO/name`, or `FROM TO/` for every name. */
function grantKeys(resources: Resources): ReadonlySet<string> {
  const keys = new Set<string>();
  for (const { metadata, spec } of resources.ReferenceGrant.values()) {
    for (const from of spec.from) {
      for (const to of spec.to) {
        const target = `${to.group}/${to.kind}/${metadata.namespace}/${to.name ?? ''}`;
        keys.add(`${from.group}/${from.kind}/${from.namespace} ${target}`);
      }
    }
  }
  return keys;
}
