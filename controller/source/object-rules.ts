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
import { type BrokenRule, groupRules } from './broken-rule.ts';
import { trafficPolicyRules } from './traffic-policy-rules.ts';

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

function peerAuthenticationRules({ spec }: PeerAuthenticationObject): BrokenRule[] {
  const selects = Object.keys(spec.selector?.matchLabels ?? {}).length > 0;
  if (spec.portLevelMtls === undefined || selects) return [];
  return [{ path: ['spec', 'portLevelMtls'], message: 'Modes of ports need a selector with matchLabels' }];
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
