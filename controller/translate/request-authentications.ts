// RequestAuthentications to the model's. Fails closed: a rule whose keys cannot be used stays in force without keys, so
// that tokens of its issuer are refused and not overlooked.

import { requestAuthenticationKey } from '../../mesh/model/key.ts';
import type {
  JwtRule,
  RequestAuthentication,
  RequestTarget,
  TokenLocation,
} from '../../mesh/model/request-authentication.ts';
import type { JwtRuleSpec, RequestAuthenticationObject } from '../resources/own-kinds.ts';
import type { FieldPath } from '../source/problem.ts';
import type { PoliciesContext } from './authorization-policies.ts';
import { compareText } from './precedence.ts';
import { resolveTargets } from './request-targets.ts';
import { isEmptySelector, type Labels, selects } from './selectors.ts';

const kind = 'RequestAuthentication';

export function translateRequestAuthentications(context: PoliciesContext): readonly RequestAuthentication[] {
  const translated: RequestAuthentication[] = [];
  for (const object of context.resources.RequestAuthentication.values()) {
    const { metadata, spec } = object;
    context.statuses.announce(kind, metadata);
    const rules = (spec.jwtRules ?? []).map((rule, index) => translateRule(context, object, { rule, index }));
    const targets = targetsOf(context, object);
    if (targets.length === 0 || rules.length === 0) continue;
    const key = requestAuthenticationKey(metadata.namespace, metadata.name);
    translated.push({ key, namespace: metadata.namespace, targets, rules });
    if (!isAnywhere(context, targets)) {
      const message = 'In force, but nothing it covers has a waypoint: no token is looked at';
      context.statuses.remark(kind, metadata, { reason: 'NoWaypoint', message });
    }
  }
  return translated;
}

function targetsOf(context: PoliciesContext, object: RequestAuthenticationObject): readonly RequestTarget[] {
  const { metadata, spec } = object;
  const { namespace } = metadata;
  if (spec.targetRefs !== undefined)
    return resolveTargets(context, { kind, metadata, refs: spec.targetRefs }).targets;
  const isRoot = namespace === context.rootNamespace;
  const labels = spec.selector?.matchLabels;
  if (isEmptySelector(labels)) return [{ kind: 'namespace', namespace: isRoot ? '' : namespace }];
  const candidates = isRoot ? context.workloads : (context.byNamespace.get(namespace) ?? []);
  const selected = candidates.filter((workload) => selects(labels as Labels, workload.labels));
  const services = new Set(selected.flatMap((workload) => [...workload.services.keys()]));
  if (services.size === 0) {
    const why =
      selected.length === 0
        ? 'the selector matches no workload yet'
        : 'no Service is in front of its workloads';
    context.statuses.remark(kind, metadata, { reason: 'NoService', message: `In force, but ${why}` });
  }
  return [...services].sort(compareText).map((service) => ({ kind: 'service', service }));
}

/** Whether any of the targets is a waypoint, or has one in front of it or of its workloads. */
function isAnywhere(context: PoliciesContext, targets: readonly RequestTarget[]): boolean {
  const { services, workloads, waypoints } = context;
  return targets.some((target) => {
    if (target.kind === 'gateway') return waypoints.has(target.gateway);
    if (target.kind === 'service')
      return (
        services.some(({ service, waypoint }) => waypoint !== undefined && service.key === target.service) ||
        workloads.some((draft) => draft.waypoint !== undefined && draft.services.has(target.service))
      );
    const within = (namespace: string): boolean => [namespace, ''].includes(target.namespace);
    return (
      services.some(({ service, waypoint }) => waypoint !== undefined && within(service.namespace)) ||
      workloads.some(({ base, waypoint }) => waypoint !== undefined && within(base.namespace))
    );
  });
}

interface RuleAt {
  readonly rule: JwtRuleSpec;
  readonly index: number;
}

function translateRule(context: PoliciesContext, object: RequestAuthenticationObject, at: RuleAt): JwtRule {
  const { rule, index } = at;
  const field = (...path: FieldPath): FieldPath => ['spec', 'jwtRules', index, ...path];
  const reject = (path: FieldPath, message: string): void =>
    context.statuses.reject(kind, object.metadata, { reason: 'InvalidRule', message, field: path });
  const outputs = rule.outputClaimToHeaders ?? [];
  const claimHeaders = outputs.flatMap(({ claim, header }, i) => {
    const fault = headerFault(header);
    if (fault === undefined) return [{ claim, header: header.toLowerCase() }];
    reject(field('outputClaimToHeaders', i, 'header'), fault);
    return [];
  });
  const payload = rule.outputPayloadToHeader;
  const payloadFault = payload === undefined ? undefined : headerFault(payload);
  if (payloadFault !== undefined) reject(field('outputPayloadToHeader'), payloadFault);
  return {
    issuer: rule.issuer,
    audiences: rule.audiences ?? [],
    keys: translateKeys(rule, (path, message) => reject(field(path), message)),
    locations: locationsOf(rule),
    claimHeaders,
    forward: rule.forwardOriginalToken,
    payloadHeader: payloadFault === undefined ? payload?.toLowerCase() : undefined,
  };
}

/** No token is signed by any of no keys. */
const noKeys: JwtRule['keys'] = { kind: 'inline', jwks: '{"keys":[]}' };
const effect = '(every token of this issuer is refused until this is right)';

function translateKeys(
  { jwks, jwksUri }: JwtRuleSpec,
  reject: (field: 'jwks' | 'jwksUri', message: string) => void,
): JwtRule['keys'] {
  if (jwksUri !== undefined) {
    const url = URL.parse(jwksUri);
    if (url !== null && /^https?:$/.test(url.protocol) && url.username === '' && url.password === '')
      return { kind: 'url', url: url.href };
    reject('jwksUri', `"${jwksUri}" is no http or https URL without credentials ${effect}`);
    return noKeys;
  }
  const fault = keySetFault(jwks ?? '');
  if (fault === undefined) return { kind: 'inline', jwks: jwks as string };
  reject('jwks', `${fault} ${effect}`);
  return noKeys;
}

function keySetFault(text: string): string | undefined {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    return 'The key set is no JSON';
  }
  const keys =
    typeof parsed === 'object' && parsed !== null ? (parsed as { keys?: unknown }).keys : undefined;
  if (!Array.isArray(keys)) return 'The key set is no object with a list "keys"';
  const secret = keys.findIndex((key) => (key as { kty?: unknown } | null)?.kty === 'oct');
  if (secret !== -1) return `keys[${secret}] is a secret (kty oct): only public keys are used`;
  const whole = keys.findIndex((key) => Object.hasOwn(Object(key), 'd'));
  return whole === -1 ? undefined : `keys[${whole}] holds a private key: only the public part belongs here`;
}

function locationsOf({ fromHeaders, fromParams, fromCookies }: JwtRuleSpec): readonly TokenLocation[] {
  const headers = fromHeaders ?? [];
  const locations: TokenLocation[] = [
    ...headers.map(({ name, prefix }) => ({ kind: 'header', name: name.toLowerCase(), prefix }) as const),
    ...(fromParams ?? []).map((name) => ({ kind: 'query', name }) as const),
    ...(fromCookies ?? []).map((name) => ({ kind: 'cookie', name }) as const),
  ];
  return locations.length === 0 ? defaultLocations : locations;
}

/** Istio's. */
const defaultLocations: readonly TokenLocation[] = [
  { kind: 'header', name: 'authorization', prefix: 'Bearer ' },
  { kind: 'query', name: 'access_token' },
];

/** Fields that frame a message, belong to one connection, or are the waypoint's own (RFC 9110 section 7.6.1). */
const reservedHeaders = new Set([
  'connection',
  'content-length',
  'host',
  'keep-alive',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'x-forwarded-client-cert',
  'x-forwarded-for',
]);

function headerFault(name: string): string | undefined {
  return reservedHeaders.has(name.toLowerCase()) ? `Header "${name}" is not for claims` : undefined;
}
