// Decides about a connection by the policies that are candidates for one workload (WIRE 5). Compiled once, asked often:
// a decision without AUDIT or dry-run hits is a frozen value made at compile time. Which policies are candidates is the
// snapshot's business, what a denial does is the caller's.

import type { AuthorizationPolicy } from '../model/authorization.ts';
import type { PolicyKey } from '../model/workload.ts';
import { type CompiledRule, compileRule } from './compiled-rule.ts';
import { Connection, type ConnectionFacts } from './connection.ts';
import { RuleIndex } from './rule-index.ts';

export interface Decision {
  readonly allowed: boolean;
  readonly reason: 'no-policy' | 'allowed-by' | 'denied-by' | 'no-allow-matched';
  /** The deciding policy; for `no-allow-matched` the first ALLOW policy that was considered. */
  readonly policy?: PolicyKey;
  /** The deciding rule: its name, or its index in the policy. */
  readonly rule?: string;
  readonly audits: readonly Audit[];
}

/** A hit of an AUDIT policy, or what a dry-run policy would have done. */
export interface Audit {
  readonly policy: PolicyKey;
  /** `''` for a dry-run ALLOW policy that would deny because none of its rules matched. */
  readonly rule: string;
  /** Only for dry-run ALLOW and DENY policies. */
  readonly wouldDeny?: boolean;
}

export class PolicySet {
  readonly #deny: RuleIndex;
  readonly #allow: RuleIndex;
  /** AUDIT and dry-run policies, which are reported and never decide; undefined if there are none. */
  readonly #reported: RuleIndex | undefined;
  /** The first dry-run ALLOW policy, where no enforced ALLOW policy exists: enforcing it would make deny the default. */
  readonly #dryRunDefault: PolicyKey | undefined;
  /** The decision if no rule matches. */
  readonly #default: Decision;
  readonly #decisions = new Map<CompiledRule, Decision>();
  readonly #connection = new Connection();

  /** Names in decisions follow the order of the policies; the outcome does not depend on it. */
  constructor(policies: readonly AuthorizationPolicy[]) {
    const rules = compilePolicies(policies);
    const enforced = rules.filter(({ policy }) => !policy.dryRun);
    this.#deny = new RuleIndex(enforced.filter(({ policy }) => policy.action === 'deny'));
    this.#allow = new RuleIndex(enforced.filter(({ policy }) => policy.action === 'allow'));
    const reported = rules.filter(({ policy }) => policy.dryRun || policy.action === 'audit');
    this.#reported = reported.length === 0 ? undefined : new RuleIndex(reported);
    const allowPolicies = policies.filter((policy) => policy.action === 'allow');
    const firstAllow = allowPolicies.find((policy) => !policy.dryRun);
    this.#dryRunDefault = firstAllow === undefined ? allowPolicies[0]?.key : undefined;
    this.#default = defaultDecision(firstAllow);
    for (const rule of enforced) this.#decisions.set(rule, decisionBy(rule));
  }

  decide(facts: ConnectionFacts): Decision {
    const connection = this.#connection;
    connection.load(facts);
    const rule = this.#deny.first(connection) ?? this.#allow.first(connection);
    const decision = (rule === undefined ? undefined : this.#decisions.get(rule)) ?? this.#default;
    if (this.#reported === undefined && this.#dryRunDefault === undefined) return decision;
    const audits = this.#audits(connection, decision);
    return audits.length === 0 ? decision : { ...decision, audits };
  }

  #audits(connection: Connection, decision: Decision): readonly Audit[] {
    const hits = this.#reported?.all(connection) ?? [];
    const audits = hits.map(auditOf);
    const allowHit = hits.some(({ policy }) => policy.action === 'allow');
    if (this.#dryRunDefault !== undefined && !allowHit && decision.allowed) {
      audits.push({ policy: this.#dryRunDefault, rule: '', wouldDeny: true });
    }
    return audits;
  }
}

const noAudits: readonly Audit[] = Object.freeze([]);

function compilePolicies(policies: readonly AuthorizationPolicy[]): readonly CompiledRule[] {
  const compiled: CompiledRule[] = [];
  let ordinal = 0;
  for (const policy of policies) {
    for (const [i, rule] of policy.rules.entries()) {
      const one = compileRule(rule, { ordinal: ordinal++, policy, name: rule.name || String(i) });
      if (one !== undefined) compiled.push(one);
    }
  }
  return compiled;
}

function defaultDecision(firstAllow: AuthorizationPolicy | undefined): Decision {
  if (firstAllow === undefined)
    return Object.freeze({ allowed: true, reason: 'no-policy', audits: noAudits });
  return Object.freeze({
    allowed: false,
    reason: 'no-allow-matched',
    policy: firstAllow.key,
    audits: noAudits,
  });
}

function decisionBy({ policy, name }: CompiledRule): Decision {
  const allowed = policy.action === 'allow';
  const reason = allowed ? 'allowed-by' : 'denied-by';
  return Object.freeze({ allowed, reason, policy: policy.key, rule: name, audits: noAudits });
}

function auditOf({ policy, name }: CompiledRule): Audit {
  const hit = { policy: policy.key, rule: name };
  return policy.dryRun && policy.action !== 'audit' ? { ...hit, wouldDeny: policy.action === 'deny' } : hit;
}
