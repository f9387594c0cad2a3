// AuthorizationPolicies to policies of the engine, and to the workloads and requests they cover. Fails closed: a rule with a value
// that cannot be used is left out of an ALLOW policy and widened in a DENY policy, and the status says so.

import type { AuthorizationPolicy, Match, Rule } from '../../mesh/model/authorization.ts';
import { policyNeedsHttp } from '../../mesh/authz/l4-projection.ts';
import { policyKey } from '../../mesh/model/key.ts';
import type { RequestTarget } from '../../mesh/model/request-authentication.ts';
import type { AuthorizationPolicyObject, AuthorizationRule } from '../resources/own-kinds.ts';
import type { Resources } from '../resources/resources.ts';
import {
  conditionMatch,
  operationMatch,
  type ParsedMatch,
  sourceMatch,
  widenedClause,
} from './authorization-match.ts';
import { isEmptySelector, type Labels, selects } from './selectors.ts';
import type { Waypoints } from './gateways.ts';
import { resolveTargets } from './request-targets.ts';
import type { ServiceDraft } from './service-draft.ts';
import type { StatusCollector } from './statuses.ts';
import { WaypointCoverage } from './waypoint-coverage.ts';
import type { WorkloadDraft } from './workload-draft.ts';

export interface PoliciesContext {
  readonly resources: Resources;
  readonly statuses: StatusCollector;
  readonly trustDomain: string;
  /** Policies of this namespace cover the whole mesh. */
  readonly rootNamespace: string;
  readonly waypoints: Waypoints;
  readonly services: readonly ServiceDraft[];
  /** Bound to their waypoints. */
  readonly workloads: readonly WorkloadDraft[];
  readonly byNamespace: ReadonlyMap<string, readonly WorkloadDraft[]>;
}

/** Adds to the workloads' policies and returns the policies themselves. */
export function translateAuthorizationPolicies(context: PoliciesContext): readonly AuthorizationPolicy[] {
  const policies: AuthorizationPolicy[] = [];
  const coverage = new WaypointCoverage(context);
  for (const object of context.resources.AuthorizationPolicy.values()) {
    context.statuses.announce('AuthorizationPolicy', object.metadata);
    const attachment = attach(context, object);
    if (attachment === undefined) continue;
    const policy = translatePolicy(context, object, attachment);
    policies.push(policy);
    if (policyNeedsHttp(policy)) reportUnknownFacts(context, object, coverage.without(attachment.covered));
  }
  return policies;
}

/** What a policy covers. */
interface Attachment {
  readonly scope: AuthorizationPolicy['scope'];
  readonly targets?: readonly RequestTarget[];
  /** Workloads that node tunnels enforce it for; a namespace, or `''` for all. */
  readonly covered: readonly WorkloadDraft[] | string;
}

/** Undefined if nobody enforces it. */
function attach(context: PoliciesContext, object: AuthorizationPolicyObject): Attachment | undefined {
  const { metadata, spec } = object;
  const { namespace, name } = metadata;
  const key = policyKey(namespace, name);
  const isRoot = namespace === context.rootNamespace;
  if (spec.targetRefs !== undefined) return attachToTargets(context, object);
  const labels = spec.selector?.matchLabels;
  if (isEmptySelector(labels))
    return isRoot ? { scope: 'global', covered: '' } : { scope: 'namespace', covered: namespace };
  const candidates = isRoot ? context.workloads : (context.byNamespace.get(namespace) ?? []);
  const covered = candidates.filter((workload) => selects(labels as Labels, workload.labels));
  for (const workload of covered) workload.policies.add(key);
  if (covered.length === 0) reportIdle(context, object, 'the selector matches no workload yet');
  return { scope: 'workload', covered };
}

function attachToTargets(
  context: PoliciesContext,
  object: AuthorizationPolicyObject,
): Attachment | undefined {
  const { metadata, spec } = object;
  const refs = spec.targetRefs ?? [];
  const found = resolveTargets(context, { kind: 'AuthorizationPolicy', metadata, refs });
  const { targets } = found;
  const ofServices = refs.some(({ kind }) => kind !== 'Gateway');
  if (!ofServices) return targets.length === 0 ? undefined : { scope: 'target', targets, covered: [] };
  const keys = new Set(found.services.map(({ service }) => service.key));
  const covered = context.workloads.filter((workload) => behindAny(workload, keys));
  for (const workload of covered) workload.policies.add(policyKey(metadata.namespace, metadata.name));
  if (covered.length === 0) reportIdle(context, object, 'no workload is behind its Services yet');
  return targets.length === 0 ? { scope: 'workload', covered } : { scope: 'workload', targets, covered };
}

function behindAny({ services }: WorkloadDraft, keys: ReadonlySet<string>): boolean {
  if (keys.size === 0) return false;
  for (const key of services.keys()) if (keys.has(key)) return true;
  return false;
}

function reportIdle(context: PoliciesContext, { metadata }: AuthorizationPolicyObject, why: string): void {
  const message = `In force, but ${why}`;
  context.statuses.remark('AuthorizationPolicy', metadata, { reason: 'NoWorkload', message });
}

function reportUnknownFacts(
  context: PoliciesContext,
  { metadata, spec }: AuthorizationPolicyObject,
  without: number,
): void {
  if (without === 0) return;
  const effect =
    spec.action === 'ALLOW'
      ? 'rules that ask for them admit nothing'
      : `they count as met, so the policy ${spec.action === 'DENY' ? 'refuses' : 'reports'} more than it says`;
  const workloads = without === 1 ? '1 of its workloads has' : `${without} of its workloads have`;
  const message = `In force, but ${workloads} no waypoint: facts of requests are not known there, ${effect}`;
  context.statuses.remark('AuthorizationPolicy', metadata, { reason: 'NoWaypoint', message });
}

const actions = { ALLOW: 'allow', DENY: 'deny', AUDIT: 'audit' } as const;

function translatePolicy(
  context: PoliciesContext,
  object: AuthorizationPolicyObject,
  { scope, targets }: Attachment,
): AuthorizationPolicy {
  const { metadata, spec } = object;
  const rules: Rule[] = [];
  for (const [index, rule] of (spec.rules ?? []).entries()) {
    const translated = translateRule(context, object, { rule, index });
    if (translated !== undefined) rules.push(translated);
  }
  return {
    key: policyKey(metadata.namespace, metadata.name),
    name: metadata.name,
    namespace: metadata.namespace,
    scope,
    ...(targets === undefined ? {} : { targets }),
    action: actions[spec.action],
    dryRun: spec.dryRun || isDryRun(metadata.annotations),
    rules,
  };
}

function isDryRun(annotations: Labels): boolean {
  return annotations['weft.dev/dry-run'] === 'true' || annotations['istio.io/dry-run'] === 'true';
}

function translateRule(
  context: PoliciesContext,
  object: AuthorizationPolicyObject,
  { rule, index }: { rule: AuthorizationRule; index: number },
): Rule | undefined {
  const clauses = parseClauses(context, object, { rule, index });
  const bad = clauses.flat().flatMap((parsed) => parsed.bad);
  // The position a user sees must not shift when a rule before it is left out.
  const name = rule.name ?? `rules[${index}]`;
  if (bad.length > 0) {
    const { metadata, spec } = object;
    const effect = spec.action === 'DENY' ? 'the rule refuses more than it says' : 'the rule is left out';
    for (const { path, message } of bad) {
      const text = `${message} (${effect} until this is right)`;
      context.statuses.reject('AuthorizationPolicy', metadata, {
        reason: 'InvalidRule',
        message: text,
        field: path,
      });
    }
    if (spec.action !== 'DENY') return undefined;
  }
  const usable = clauses
    .map(widenedClause)
    .filter((matches): matches is readonly Match[] => matches !== undefined);
  return { name, clauses: usable.map((matches) => ({ matches })) };
}

/** from, to and each condition of when are clauses of their own: all must hold. */
function parseClauses(
  context: PoliciesContext,
  { metadata }: AuthorizationPolicyObject,
  { rule, index }: { rule: AuthorizationRule; index: number },
): readonly (readonly ParsedMatch[])[] {
  const shared = { namespace: metadata.namespace, trustDomain: context.trustDomain };
  const at = ['spec', 'rules', index];
  const clauses: ParsedMatch[][] = [];
  if (rule.from !== undefined) {
    clauses.push(
      rule.from.map(({ source }, i) => sourceMatch(source, { ...shared, at: [...at, 'from', i, 'source'] })),
    );
  }
  if (rule.to !== undefined) {
    clauses.push(
      rule.to.map(({ operation }, i) =>
        operationMatch(operation, { ...shared, at: [...at, 'to', i, 'operation'] }),
      ),
    );
  }
  for (const [i, condition] of (rule.when ?? []).entries()) {
    clauses.push([conditionMatch(condition, { ...shared, at: [...at, 'when', i] })]);
  }
  return clauses;
}
