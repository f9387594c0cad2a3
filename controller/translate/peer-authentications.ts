// PeerAuthentication and MeshConfig's mTLS mode to DENY policies (WIRE.md section 5): "strict" is a policy that refuses
// callers without an identity, listed on each captured workload it covers. The nearest object decides: selector before
// namespace before mesh before MeshConfig. Each policy is named after the object it came from, so a denial names it.

import {
  type AuthorizationPolicy,
  emptyMatch,
  type Match,
  type Rule,
} from '../../mesh/model/authorization.ts';
import { policyKey } from '../../mesh/model/key.ts';
import type { MeshConfig } from '../../mesh/model/mesh-config.ts';
import type { PeerAuthenticationObject } from '../resources/own-kinds.ts';
import type { PoliciesContext } from './authorization-policies.ts';
import { byPrecedence } from './precedence.ts';
import { isEmptySelector, type Labels, selects } from './selectors.ts';
import type { WorkloadDraft } from './workload-draft.ts';

/** A colon is in no name of an object, so these names collide with no AuthorizationPolicy. */
const policyPrefix = 'peer-authentication:';
const meshConfigPolicy = 'mesh-config:default';

interface Mode {
  readonly strict: boolean;
  /** The policy that enforces it if strict. */
  readonly policy: { readonly namespace: string; readonly name: string };
}

interface Levels {
  readonly mesh: Mode;
  readonly namespaces: ReadonlyMap<string, Mode>;
  readonly selecting: ReadonlyMap<string, readonly PeerAuthenticationObject[]>;
}

/** Adds to the workloads' policies and returns the policies themselves; those that cover nothing are left out. */
export function translatePeerAuthentications(
  context: PoliciesContext,
  meshConfig: MeshConfig,
): readonly AuthorizationPolicy[] {
  const levels = sortLevels(context, meshConfig);
  const policies = new Map<string, AuthorizationPolicy>();
  for (const workload of context.workloads) {
    // Nobody refuses anything on behalf of a workload that is not captured.
    if (workload.base.tunnelProtocol !== 'hbone') continue;
    const policy = policyFor(workload, levels);
    if (policy === undefined) continue;
    workload.policies.add(policy.key);
    policies.set(policy.key, policy);
  }
  return [...policies.values()];
}

function sortLevels(context: PoliciesContext, meshConfig: MeshConfig): Levels {
  const selecting = new Map<string, PeerAuthenticationObject[]>();
  const wide = new Map<string, PeerAuthenticationObject>();
  for (const object of byPrecedence(context.resources.PeerAuthentication.values())) {
    const { metadata, spec } = object;
    context.statuses.announce('PeerAuthentication', metadata);
    if (!isEmptySelector(spec.selector?.matchLabels)) {
      selecting.set(metadata.namespace, [...(selecting.get(metadata.namespace) ?? []), object]);
      continue;
    }
    const first = wide.get(metadata.namespace);
    if (first === undefined) wide.set(metadata.namespace, object);
    else reportConflict(context, object, { first, over: `namespace ${metadata.namespace}` });
    if (spec.portLevelMtls !== undefined) reportIgnoredPorts(context, object);
  }
  reportShadowed(context, selecting);
  const fallback = {
    strict: meshConfig.mtls === 'strict',
    policy: { namespace: context.rootNamespace, name: meshConfigPolicy },
  };
  const mesh = modeOf(wide.get(context.rootNamespace), fallback);
  const namespaces = new Map([...wide].map(([namespace, object]) => [namespace, modeOf(object, mesh)]));
  return { mesh, namespaces, selecting };
}

function modeOf(object: PeerAuthenticationObject | undefined, inherited: Mode): Mode {
  if (object === undefined || object.spec.mtls.mode === 'UNSET') return inherited;
  return { strict: object.spec.mtls.mode === 'STRICT', policy: policyName(object) };
}

function policyName({ metadata }: PeerAuthenticationObject): Mode['policy'] {
  return { namespace: metadata.namespace, name: policyPrefix + metadata.name };
}

function policyFor(workload: WorkloadDraft, levels: Levels): AuthorizationPolicy | undefined {
  const { namespace } = workload.base;
  const inherited = levels.namespaces.get(namespace) ?? levels.mesh;
  const own = levels.selecting
    .get(namespace)
    ?.find(({ spec }) => selects(spec.selector?.matchLabels as Labels, workload.labels));
  const mode = modeOf(own, inherited);
  const ports = own === undefined ? undefined : portModes(own, mode.strict);
  if (own === undefined || ports === undefined)
    return mode.strict ? denyPolicy(mode.policy, strictRule({})) : undefined;
  // Ports that differ need a policy of their own, even if the mode itself is inherited.
  const rule = mode.strict
    ? strictRule({ notDestinationPorts: ports.permissive })
    : strictRule({ destinationPorts: ports.strict });
  return denyPolicy(policyName(own), rule);
}

/** Ports whose mode differs from the object's own; undefined if there are none. */
function portModes(
  { spec }: PeerAuthenticationObject,
  strict: boolean,
): { readonly strict: readonly number[]; readonly permissive: readonly number[] } | undefined {
  const modes = Object.entries(spec.portLevelMtls ?? {}).map(([port, { mode }]) => ({
    port: Number(port),
    mode,
  }));
  const portsOf = (wanted: string) =>
    modes
      .filter(({ port, mode }) => mode === wanted && port >= 1 && port <= 65535)
      .map(({ port }) => port)
      .sort((a, b) => a - b);
  const result = { strict: portsOf('STRICT'), permissive: portsOf('PERMISSIVE') };
  return (strict ? result.permissive : result.strict).length === 0 ? undefined : result;
}

function strictRule(ports: Partial<Match>): Rule {
  const match: Match = { ...emptyMatch, notPrincipals: [{ kind: 'presence' }], ...ports };
  return { name: 'mtls-required', clauses: [{ matches: [match] }] };
}

function denyPolicy({ namespace, name }: Mode['policy'], rule: Rule): AuthorizationPolicy {
  const key = policyKey(namespace, name);
  return { key, name, namespace, scope: 'workload', action: 'deny', dryRun: false, rules: [rule] };
}

/** Of several objects that select one workload the first counts; the others are told, once for each first. */
function reportShadowed(
  context: PoliciesContext,
  selecting: ReadonlyMap<string, readonly PeerAuthenticationObject[]>,
): void {
  const told = new Set<string>();
  for (const [namespace, objects] of selecting) {
    for (const workload of context.byNamespace.get(namespace) ?? []) {
      const [first, ...others] = objects.filter(({ spec }) =>
        selects(spec.selector?.matchLabels as Labels, workload.labels),
      );
      for (const object of others) {
        const pair = `${namespace}/${object.metadata.name}/${first?.metadata.name}`;
        if (first === undefined || told.has(pair)) continue;
        told.add(pair);
        reportConflict(context, object, { first, over: 'some of its workloads' });
      }
    }
    for (const object of objects) reportBadPorts(context, object);
  }
}

function reportConflict(
  context: PoliciesContext,
  { metadata }: PeerAuthenticationObject,
  { first, over }: { first: PeerAuthenticationObject; over: string },
): void {
  const { namespace, name } = first.metadata;
  const message = `PeerAuthentication ${namespace}/${name} came first and decides for ${over}`;
  context.statuses.conflict('PeerAuthentication', metadata, { reason: 'OlderObject', message });
}

function reportIgnoredPorts(context: PoliciesContext, { metadata }: PeerAuthenticationObject): void {
  const message = 'portLevelMtls is ignored without a selector';
  const field = ['spec', 'portLevelMtls'];
  context.statuses.reject('PeerAuthentication', metadata, { reason: 'PortsWithoutSelector', message, field });
}

function reportBadPorts(context: PoliciesContext, { metadata, spec }: PeerAuthenticationObject): void {
  for (const port of Object.keys(spec.portLevelMtls ?? {})) {
    if (/^[1-9][0-9]{0,4}$/.test(port) && Number(port) <= 65535) continue;
    const message = `"${port}" is no port: ports are 1 to 65535`;
    const field = ['spec', 'portLevelMtls', port];
    context.statuses.reject('PeerAuthentication', metadata, { reason: 'InvalidPort', message, field });
  }
}
