// Decides about a connection or a request by the policies that are candidates for it (WIRE 5). Compiled once, asked
// often: rules and their L4 projections apart, so that L7 rules cost a connection nothing. A decision without AUDIT or dry-run hits is a frozen value made at compile time. Which policies are candidates is the
// snapshot's business, what a denial does is the caller's.

import type { AuthorizationPolicy, Match, Rule } from '../model/authorization.ts';
import type { PolicyKey } from '../model/workload.ts';
import { type CompiledRule, compileRule } from './compiled-rule.ts';
import { Connection, type ConnectionFacts } from './connection.ts';
import { policyNeedsHttp, projectRule } from './l4-projection.ts';
import { RuleIndex } from './rule-index.ts';

export interface Decision {
  readonly allowed: boolean;
  /** `endpoint-decides`: not refused so far; to be asked again about the endpoint that is chosen (Authorizer). */
  readonly reason: 'no-policy' | 'allowed-by' | 'denied-by' | 'no-allow-matched' | 'endpoint-decides';
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
  readonly #policies: readonly AuthorizationPolicy[];
  /** For unknown L7 facts. Both are compiled when they are first needed, and are one if no rule has L7 conditions. */
  #connectionRules: RuleSet | undefined;
  #requestRules: RuleSet | undefined;
  /** The first dry-run ALLOW policy, where no enforced ALLOW policy exists: enforcing it would make deny the default. */
  readonly #dryRunDefault: PolicyKey | undefined;
  /** The decision if no rule matches. */
  readonly #default: Decision;
  readonly #needsHttp: boolean;
  /** Rules ask for the address, or for the port, of the workload itself. */
  readonly asksForAddress: boolean;
  readonly asksForPort: boolean;
  readonly #connection = new Connection();

  /** Names in decisions follow the order of the policies; the outcome does not depend on it. */
  constructor(policies: readonly AuthorizationPolicy[]) {
    this.#policies = policies;
    this.#needsHttp = policies.some(policyNeedsHttp);
    this.asksForAddress = asks(
      policies,
      (match) => match.destinationIps.length + match.notDestinationIps.length,
    );
    this.asksForPort = asks(
      policies,
      (match) => match.destinationPorts.length + match.notDestinationPorts.length,
    );
    const allowPolicies = policies.filter((policy) => policy.action === 'allow');
    const firstAllow = allowPolicies.find((policy) => !policy.dryRun);
    this.#dryRunDefault = firstAllow === undefined ? allowPolicies[0]?.key : undefined;
    this.#default = defaultDecision(firstAllow);
  }

  /** Without `facts.http` L7 conditions hold in DENY and AUDIT policies and fail in ALLOW policies. */
  decide(facts: ConnectionFacts): Decision {
    const connection = this.#connection;
    connection.load(facts);
    const rules = facts.http === undefined ? this.#forConnections() : this.#forRequests();
    const rule = rules.deny.first(connection) ?? rules.allow.first(connection);
    const decision = rule?.decision ?? this.#default;
    if (rules.reported === undefined && this.#dryRunDefault === undefined) return decision;
    const audits = this.#audits(connection, { rules, decision });
    return audits.length === 0 ? decision : { ...decision, audits };
  }

  #forConnections(): RuleSet {
    this.#connectionRules ??= this.#needsHttp
      ? new RuleSet(this.#policies, projectRule)
      : this.#forRequests();
    return this.#connectionRules;
  }

  #forRequests(): RuleSet {
    this.#requestRules ??= new RuleSet(this.#policies, (rule) => rule);
    return this.#requestRules;
  }

  #audits(
    connection: Connection,
    { rules, decision }: { readonly rules: RuleSet; readonly decision: Decision },
  ): readonly Audit[] {
    const hits = rules.reported?.all(connection) ?? [];
    const audits = hits.map(auditOf);
    const allowHit = hits.some(({ policy }) => policy.action === 'allow');
    if (this.#dryRunDefault !== undefined && !allowHit && decision.allowed) {
      audits.push({ policy: this.#dryRunDefault, rule: '', wouldDeny: true });
    }
    return audits;
  }
}

type Reading = (rule: Rule, action: AuthorizationPolicy['action']) => Rule | undefined;

/** The rules of all policies in one reading of them. */
class RuleSet {
  readonly deny: RuleIndex<DecidingRule>;
  readonly allow: RuleIndex<DecidingRule>;
  /** AUDIT and dry-run policies, which are reported and never decide; undefined if there are none. */
  readonly reported: RuleIndex<DecidingRule> | undefined;

  constructor(policies: readonly AuthorizationPolicy[], read: Reading) {
    const rules = compilePolicies(policies, read);
    const enforced = rules.filter(({ policy }) => !policy.dryRun);
    this.deny = new RuleIndex(enforced.filter(({ policy }) => policy.action === 'deny'));
    this.allow = new RuleIndex(enforced.filter(({ policy }) => policy.action === 'allow'));
    const reported = rules.filter(({ policy }) => policy.dryRun || policy.action === 'audit');
    this.reported = reported.length === 0 ? undefined : new RuleIndex(reported);
  }
}

/** With the decision of which it is the reason. */
interface DecidingRule extends CompiledRule {
  readonly decision: Decision;
}

const noAudits: readonly Audit[] = Object.freeze([]);

function asks(policies: readonly AuthorizationPolicy[], values: (match: Match) => number): boolean {
  return policies.some(({ rules }) =>
    rules.some(({ clauses }) => clauses.some(({ matches }) => matches.some((match) => values(match) > 0))),
  );
}

function compilePolicies(policies: readonly AuthorizationPolicy[], read: Reading): readonly DecidingRule[] {
  const compiled: DecidingRule[] = [];
  let ordinal = 0;
  for (const policy of policies) {
    for (const [i, written] of policy.rules.entries()) {
      const context = { ordinal: ordinal++, policy, name: written.name || String(i) };
      const rule = read(written, policy.action);
      const one = rule && compileRule(rule, context);
      if (one !== undefined) compiled.push({ ...one, decision: decisionBy(one) });
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
