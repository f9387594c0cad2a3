// AuthorizationPolicies to policies of the engine, and to the workloads they cover. Fails closed: a rule with a value
// that cannot be used is left out of an ALLOW policy and widened in a DENY policy, and the status says so.

import type { AuthorizationPolicy, Match, Rule } from '../../mesh/model/authorization.ts';
import { policyKey, serviceKey } from '../../mesh/model/key.ts';
import type { AuthorizationPolicyObject, AuthorizationRule } from '../resources/own-kinds.ts';
import { objectKey, type Resources } from '../resources/resources.ts';
import {
  conditionMatch,
  operationMatch,
  type ParsedMatch,
  sourceMatch,
  widenedClause,
} from './authorization-match.ts';
import { isEmptySelector, type Labels, selects } from './selectors.ts';
import { serviceHostname } from './services.ts';
import type { StatusCollector } from './statuses.ts';
import type { WorkloadDraft } from './workload-draft.ts';

export interface PoliciesContext {
  readonly resources: Resources;
  readonly statuses: StatusCollector;
  readonly trustDomain: string;
  /** Policies of this namespace cover the whole mesh. */
  readonly rootNamespace: string;
  readonly workloads: readonly WorkloadDraft[];
  readonly byNamespace: ReadonlyMap<string, readonly WorkloadDraft[]>;
}

/** Adds to the workloads' policies and returns the policies themselves. */
export function translateAuthorizationPolicies(context: PoliciesContext): readonly AuthorizationPolicy[] {
  const policies: AuthorizationPolicy[] = [];
  for (const object of context.resources.AuthorizationPolicy.values()) {
    context.statuses.announce('AuthorizationPolicy', object.metadata);
    const scope = attach(context, object);
    if (scope !== undefined) policies.push(translatePolicy(context, object, scope));
  }
  return policies;
}

type Scope = AuthorizationPolicy['scope'];

/** Decides what the policy covers. Undefined if no node tunnel enforces it. */
function attach(context: PoliciesContext, object: AuthorizationPolicyObject): Scope | undefined {
  const { metadata, spec } = object;
  const { namespace, name } = metadata;
  const key = policyKey(namespace, name);
  const isRoot = namespace === context.rootNamespace;
  if (spec.targetRefs !== undefined) return attachToTargets(context, object);
  const labels = spec.selector?.matchLabels;
  if (isEmptySelector(labels)) return isRoot ? 'global' : 'namespace';
  const candidates = isRoot ? context.workloads : (context.byNamespace.get(namespace) ?? []);
  const covered = candidates.filter((workload) => selects(labels as Labels, workload.labels));
  for (const workload of covered) workload.policies.add(key);
  if (covered.length === 0) reportIdle(context, object, 'the selector matches no workload yet');
  return 'workload';
}

function attachToTargets(context: PoliciesContext, object: AuthorizationPolicyObject): Scope | undefined {
  const { metadata, spec } = object;
  const key = policyKey(metadata.namespace, metadata.name);
  let services = 0;
  let covered = 0;
  for (const [index, target] of (spec.targetRefs ?? []).entries()) {
    const field = ['spec', 'targetRefs', index];
    if (target.kind !== 'Service') {
      const message = `${target.kind} ${target.name}: policies for gateways are not enforced by this version`;
      context.statuses.reject('AuthorizationPolicy', metadata, {
        reason: 'UnsupportedTarget',
        message,
        field,
      });
      continue;
    }
    services++;
    if (!context.resources.Service.has(objectKey(metadata.namespace, target.name))) {
      const message = `Service ${metadata.namespace}/${target.name} does not exist`;
      context.statuses.unresolved('AuthorizationPolicy', metadata, {
        reason: 'TargetNotFound',
        message,
        field,
      });
      continue;
    }
    const service = serviceKey(metadata.namespace, serviceHostname(metadata.namespace, target.name));
    for (const workload of context.workloads) {
      if (!workload.services.has(service)) continue;
      workload.policies.add(key);
      covered++;
    }
  }
  if (services === 0) return undefined;
  if (covered === 0) reportIdle(context, object, 'no workload is behind its Services yet');
  return 'workload';
}

function reportIdle(context: PoliciesContext, { metadata }: AuthorizationPolicyObject, why: string): void {
  const message = `In force, but ${why}`;
  context.statuses.remark('AuthorizationPolicy', metadata, { reason: 'NoWorkload', message });
}

const actions = { ALLOW: 'allow', DENY: 'deny', AUDIT: 'audit' } as const;

function translatePolicy(
  context: PoliciesContext,
  object: AuthorizationPolicyObject,
  scope: Scope,
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
