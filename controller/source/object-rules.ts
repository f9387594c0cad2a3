// Rules between the fields of one object: what the CRDs state in CEL (x-kubernetes-validations), for objects that no
// API server has seen. The messages are those of the CRDs; a test holds the two together.

import type { KindName } from '../resources/resources.ts';
import type {
  AuthorizationPolicyObject,
  PeerAuthenticationObject,
  RequestAuthenticationObject,
  ServiceEntryObject,
  TargetRef,
  TrafficPolicyObject,
} from '../resources/own-kinds.ts';
import { parseDurationMs } from '../translate/durations.ts';
import type { FieldPath } from './problem.ts';

export interface BrokenRule {
  readonly path: FieldPath;
  readonly message: string;
}

/** `object` passed the schema of its kind. Empty if every rule holds. */
export function brokenRules(kind: KindName, object: unknown): readonly BrokenRule[] {
  switch (kind) {
    case 'AuthorizationPolicy':
      return authorizationPolicyRules(object as AuthorizationPolicyObject);
    case 'RequestAuthentication':
      return requestAuthenticationRules(object as RequestAuthenticationObject);
    case 'PeerAuthentication':
      return peerAuthenticationRules(object as PeerAuthenticationObject);
    case 'TrafficPolicy':
      return trafficPolicyRules(object as TrafficPolicyObject);
    case 'ServiceEntry':
      return serviceEntryRules(object as ServiceEntryObject);
    default:
      return [];
  }
}

function authorizationPolicyRules({ spec }: AuthorizationPolicyObject): BrokenRule[] {
  const broken = coverageRules(spec);
  for (const [i, rule] of (spec.rules ?? []).entries()) {
    for (const [j, condition] of (rule.when ?? []).entries()) {
      if (condition.values !== undefined || condition.notValues !== undefined) continue;
      broken.push({ path: ['spec', 'rules', i, 'when', j], message: 'Either values or notValues is needed' });
    }
  }
  return broken;
}

function requestAuthenticationRules({ spec }: RequestAuthenticationObject): BrokenRule[] {
  const broken = coverageRules(spec);
  for (const [i, { jwks, jwksUri }] of (spec.jwtRules ?? []).entries()) {
    if ((jwks === undefined) !== (jwksUri === undefined)) continue;
    broken.push({ path: ['spec', 'jwtRules', i], message: 'Exactly one of jwks and jwksUri is needed' });
  }
  return broken;
}

/** Of kinds that cover workloads by a selector, or what requests are for by targetRefs. */
function coverageRules(spec: {
  readonly selector?: unknown;
  readonly targetRefs?: readonly TargetRef[];
}): BrokenRule[] {
  const groups = {
    Service: ['', 'core'],
    ServiceEntry: ['', 'weft.dev'],
    Gateway: ['gateway.networking.k8s.io'],
  };
  const message = "A Service has group '', a ServiceEntry 'weft.dev', a Gateway 'gateway.networking.k8s.io'";
  const broken = groupRules(spec.targetRefs ?? [], groups, message);
  if (spec.selector === undefined || spec.targetRefs === undefined) return broken;
  const both = 'Fields selector and targetRefs exclude each other';
  return [{ path: ['spec', 'targetRefs'], message: both }, ...broken];
}

function groupRules(
  targets: readonly TargetRef[],
  groups: Readonly<Record<string, readonly string[]>>,
  message: string,
): BrokenRule[] {
  return targets.flatMap((target, i) =>
    groups[target.kind]?.includes(target.group)
      ? []
      : [{ path: ['spec', 'targetRefs', i, 'group'], message }],
  );
}

function peerAuthenticationRules({ spec }: PeerAuthenticationObject): BrokenRule[] {
  const selects = Object.keys(spec.selector?.matchLabels ?? {}).length > 0;
  if (spec.portLevelMtls === undefined || selects) return [];
  return [{ path: ['spec', 'portLevelMtls'], message: 'Modes of ports need a selector with matchLabels' }];
}

function trafficPolicyRules({ spec }: TrafficPolicyObject): BrokenRule[] {
  const groups = { Service: ['', 'core'], ServiceEntry: ['', 'weft.dev'] };
  const message = "A Service has group '', a ServiceEntry has group 'weft.dev'";
  const { connectTimeout, idleTimeout, outlierDetection } = spec;
  const at = ['spec', 'outlierDetection'];
  return [
    ...groupRules(spec.targetRefs, groups, message),
    ...durationRule(connectTimeout, { path: ['spec', 'connectTimeout'], min: '1ms', max: '60s' }),
    ...durationRule(idleTimeout, { path: ['spec', 'idleTimeout'], max: '168h' }),
    ...durationRule(outlierDetection?.baseEjection, { path: [...at, 'baseEjection'], min: '1ms', max: '1h' }),
    ...durationRule(outlierDetection?.maxEjection, { path: [...at, 'maxEjection'], min: '1ms', max: '24h' }),
  ];
}

function durationRule(
  text: string | undefined,
  { path, min, max }: { path: FieldPath; min?: string; max: string },
): BrokenRule[] {
  if (text === undefined) return [];
  const ms = parseDurationMs(text);
  const low = min === undefined ? 0 : (parseDurationMs(min) as number);
  if (ms !== undefined && ms >= low && ms <= (parseDurationMs(max) as number)) return [];
  const range = min === undefined ? `at most ${max}` : `between ${min} and ${max}`;
  return [{ path, message: `Must be ${range}` }];
}

function serviceEntryRules({ spec }: ServiceEntryObject): BrokenRule[] {
  const broken: BrokenRule[] = [];
  if (spec.endpoints !== undefined && spec.workloadSelector !== undefined) {
    broken.push({
      path: ['spec', 'endpoints'],
      message: 'Fields endpoints and workloadSelector exclude each other',
    });
  }
  if (spec.resolution === 'STATIC' && spec.endpoints === undefined && spec.workloadSelector === undefined) {
    broken.push({
      path: ['spec', 'resolution'],
      message: 'Resolution STATIC needs endpoints or a workloadSelector',
    });
  }
  if (spec.resolution === 'NONE' && spec.endpoints !== undefined) {
    broken.push({ path: ['spec', 'endpoints'], message: 'Resolution NONE takes no endpoints' });
  }
  const numbers = new Set<number>();
  for (const [i, { number }] of spec.ports.entries()) {
    // x-kubernetes-list-map-keys of the CRD.
    if (numbers.has(number))
      broken.push({ path: ['spec', 'ports', i, 'number'], message: `Port ${number} is listed twice` });
    numbers.add(number);
  }
  return broken;
}
