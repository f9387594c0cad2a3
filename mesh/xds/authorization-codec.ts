// AuthorizationPolicy <-> istio.security.Authorization, by the rules of WIRE 3.4 and 5. AUDIT travels as ALLOW with
// dry_run, so that a node tunnel that does not read our extension enforces nothing; rule names travel beside it.
// An unset string match and a bad CIDR refuse the policy: the Rust node tunnel drops them, but a list of which nothing is
// left restricts nothing, so that an ALLOW policy would admit more than was meant.

import { create } from '@bufbuild/protobuf';
import type { Any } from '@bufbuild/protobuf/wkt';
import { policyNeedsHttp } from '../authz/l4-projection.ts';
import type { AuthorizationPolicy, Match, Rule, StringMatch } from '../model/authorization.ts';
import { type Cidr, cidrFromBytes, ipToBytes } from '../model/ip-address.ts';
import type { PolicyKey } from '../model/workload.ts';
import { decode, decodeEnum, decodePort, encodeEnum, reject, requireText } from './decode-field.ts';
import { encodeExtension, findExtension } from './extension.ts';
import {
  type Address,
  Action,
  type Authorization,
  AuthorizationSchema,
  type Match as WireMatch,
  MatchSchema,
  type StringMatch as WireStringMatch,
  StringMatchSchema,
} from './gen/istio/security/authorization_pb.ts';
import {
  type AuthorizationDetails,
  AuthorizationDetails_Action,
  AuthorizationDetailsSchema,
} from './gen/weft/v1/weft_pb.ts';
import { type Decoded, type EncodedResource, encodeResource } from './resource.ts';

const scopes = ['global', 'namespace', 'workload'] as const;
const actions = ['allow', 'deny'] as const;

/**
 * An Authorization resource named by the policy's key. @throws Error for a policy that was not projected (toL4): the
 * message has no place for conditions about requests, and dropping them would change what the policy admits.
 */
export function encodeAuthorization(policy: AuthorizationPolicy): EncodedResource {
  if (policy.scope === 'target' || policy.targets !== undefined || policyNeedsHttp(policy))
    throw new Error(`Policy "${policy.key}" is for waypoints: only its L4 projection fits this message`);
  const audit = policy.action === 'audit';
  const details = authorizationDetails(policy);
  const message = create(AuthorizationSchema, {
    name: policy.name,
    namespace: policy.namespace,
    scope: encodeEnum(scopes, policy.scope),
    action: policy.action === 'deny' ? Action.DENY : Action.ALLOW,
    dryRun: policy.dryRun || audit,
    rules: policy.rules.map(({ clauses }) => ({
      clauses: clauses.map(({ matches }) => ({ matches: matches.map(encodeMatch) })),
    })),
    ...(details && { extensions: [encodeExtension(AuthorizationDetailsSchema, details)] }),
  });
  return encodeResource(AuthorizationSchema, message, { name: policy.key });
}

function authorizationDetails(policy: AuthorizationPolicy): AuthorizationDetails | undefined {
  const audit = policy.action === 'audit';
  const named = policy.rules.some(({ name }) => name !== '');
  if (!audit && !named) return undefined;
  return create(AuthorizationDetailsSchema, {
    action: audit ? AuthorizationDetails_Action.AUDIT : AuthorizationDetails_Action.ACTION_UNSPECIFIED,
    ruleNames: named ? policy.rules.map(({ name }) => name) : [],
    dryRun: audit && policy.dryRun,
  });
}

function encodeMatch(match: Match): WireMatch {
  return create(MatchSchema, {
    namespaces: match.namespaces.map(encodeStringMatch),
    notNamespaces: match.notNamespaces.map(encodeStringMatch),
    principals: match.principals.map(encodeStringMatch),
    notPrincipals: match.notPrincipals.map(encodeStringMatch),
    sourceIps: match.sourceIps.map(encodeCidr),
    notSourceIps: match.notSourceIps.map(encodeCidr),
    destinationIps: match.destinationIps.map(encodeCidr),
    notDestinationIps: match.notDestinationIps.map(encodeCidr),
    destinationPorts: [...match.destinationPorts],
    notDestinationPorts: [...match.notDestinationPorts],
    serviceAccounts: [...match.serviceAccounts],
    notServiceAccounts: [...match.notServiceAccounts],
  });
}

function encodeCidr({ address, length }: Cidr) {
  return { address: ipToBytes(address), length };
}

function encodeStringMatch(match: StringMatch): WireStringMatch {
  if (match.kind === 'presence') {
    return create(StringMatchSchema, { matchType: { case: 'presence', value: {} } });
  }
  return create(StringMatchSchema, { matchType: { case: match.kind, value: match.value } });
}

/** `name` is the resource's name, `namespace/name`: what workloads refer to. Never throws; the reason names the field. */
export function decodeAuthorization(any: Any, name: string): Decoded<AuthorizationPolicy> {
  return decode(AuthorizationSchema, any, (wire) => {
    const details = findExtension(wire.extensions, AuthorizationDetailsSchema);
    return {
      key: requireText(name, 'name of the resource') as PolicyKey,
      name: wire.name,
      namespace: wire.namespace,
      scope: decodeEnum(scopes, wire.scope, 'scope'),
      rules: decodeRules(wire, details?.ruleNames ?? []),
      ...decodeAction(wire, details),
    };
  });
}

function decodeAction(
  wire: Authorization,
  details: AuthorizationDetails | undefined,
): Pick<AuthorizationPolicy, 'action' | 'dryRun'> {
  const action = decodeEnum(actions, wire.action, 'action');
  const ours = decodeEnum(['', 'audit'], details?.action ?? 0, 'extension action');
  if (ours === '') return { action, dryRun: wire.dryRun };
  // Anything else would be enforced by one kind of node tunnel and not by the other.
  if (action !== 'allow' || !wire.dryRun) reject('action', 'must be ALLOW with dry_run for an AUDIT policy');
  return { action: 'audit', dryRun: details?.dryRun ?? false };
}

function decodeRules(wire: Authorization, names: readonly string[]): Rule[] {
  if (names.length !== 0 && names.length !== wire.rules.length) {
    reject('rule_names', `has ${names.length} names for ${wire.rules.length} rules`);
  }
  return wire.rules.map(({ clauses }, i) => ({
    name: names[i] ?? '',
    clauses: clauses.map(({ matches }, j) => ({
      matches: matches.map((match, k) => decodeMatch(match, `rules[${i}].clauses[${j}].matches[${k}]`)),
    })),
  }));
}

function decodeMatch(wire: WireMatch, field: string): Match {
  return {
    namespaces: decodeStringMatches(wire.namespaces, `${field}.namespaces`),
    notNamespaces: decodeStringMatches(wire.notNamespaces, `${field}.not_namespaces`),
    principals: decodeStringMatches(wire.principals, `${field}.principals`),
    notPrincipals: decodeStringMatches(wire.notPrincipals, `${field}.not_principals`),
    sourceIps: decodeCidrs(wire.sourceIps, `${field}.source_ips`),
    notSourceIps: decodeCidrs(wire.notSourceIps, `${field}.not_source_ips`),
    destinationIps: decodeCidrs(wire.destinationIps, `${field}.destination_ips`),
    notDestinationIps: decodeCidrs(wire.notDestinationIps, `${field}.not_destination_ips`),
    destinationPorts: decodePorts(wire.destinationPorts, `${field}.destination_ports`),
    notDestinationPorts: decodePorts(wire.notDestinationPorts, `${field}.not_destination_ports`),
    serviceAccounts: wire.serviceAccounts.map(decodeServiceAccount),
    notServiceAccounts: wire.notServiceAccounts.map(decodeServiceAccount),
  };
}

function decodeStringMatches(matches: readonly WireStringMatch[], field: string): StringMatch[] {
  return matches.map(({ matchType }, i): StringMatch => {
    // Also what a newer controller may send: a kind of match that this version does not know.
    if (matchType.case === undefined) return reject(`${field}[${i}]`, 'has no match that is known here');
    return matchType.case === 'presence'
      ? { kind: 'presence' }
      : { kind: matchType.case, value: matchType.value };
  });
}

function decodeCidrs(addresses: readonly Address[], field: string): Cidr[] {
  return addresses.map(({ address, length }, i) => {
    const cidr = cidrFromBytes(address, length);
    if (cidr !== undefined) return cidr;
    return reject(`${field}[${i}]`, `is no CIDR: ${address.length} bytes with a prefix of ${length} bits`);
  });
}

/** A port above 65535 is refused, not cut to 16 bits: the policy would speak about another port. */
function decodePorts(ports: readonly number[], field: string): number[] {
  return ports.map((port, i) => decodePort(port, `${field}[${i}]`));
}

function decodeServiceAccount({ namespace, serviceAccount }: { namespace: string; serviceAccount: string }) {
  return { namespace, serviceAccount };
}
