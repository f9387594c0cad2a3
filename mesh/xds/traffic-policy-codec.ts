// TrafficPolicy <-> weft.v1.TrafficPolicy. Ranges are checked again here: the policy decides how long and how often
// a node dials, and a node does not trust its controller's arithmetic.

import { create } from '@bufbuild/protobuf';
import type { OutlierDetection, TrafficPolicy } from '../model/traffic-policy.ts';
import { decodeEnum, encodeEnum, reject, requireText } from './decode-field.ts';
import {
  type OutlierDetection as WireOutlierDetection,
  TrafficPolicySchema,
  type TrafficPolicy as WireTrafficPolicy,
} from './gen/weft/v1/weft_pb.ts';

const balancings = ['', 'peak-ewma', 'least-connections', 'round-robin', 'weighted-random'] as const;

export function encodeTrafficPolicy(policy: TrafficPolicy): WireTrafficPolicy {
  const { balancing = '', ...rest } = policy;
  return create(TrafficPolicySchema, { ...rest, balancing: encodeEnum(balancings, balancing) });
}

/** Throws FieldRejected; call it inside decode(). */
export function decodeTrafficPolicy(wire: WireTrafficPolicy, field: string): TrafficPolicy {
  const { connectTimeoutMs, idleTimeoutMs, maxConnections, dialAttempts, outlierDetection } = wire;
  const balancing = decodeEnum(balancings, wire.balancing, `${field}.balancing`);
  return {
    key: requireText(wire.key, `${field}.key`),
    ...(connectTimeoutMs !== undefined && {
      connectTimeoutMs: inRange(connectTimeoutMs, [1, 60_000], `${field}.connect_timeout_ms`),
    }),
    ...(idleTimeoutMs !== undefined && { idleTimeoutMs }),
    ...(maxConnections !== undefined && { maxConnections }),
    ...(dialAttempts !== undefined && {
      dialAttempts: inRange(dialAttempts, [1, 10], `${field}.dial_attempts`),
    }),
    ...(balancing !== '' && { balancing }),
    ...(outlierDetection && {
      outlierDetection: decodeOutlierDetection(outlierDetection, `${field}.outlier_detection`),
    }),
  };
}

function decodeOutlierDetection(wire: WireOutlierDetection, field: string): OutlierDetection {
  return {
    consecutiveFailures: inRange(wire.consecutiveFailures, [1, 100], `${field}.consecutive_failures`),
    baseEjectionMs: wire.baseEjectionMs,
    maxEjectionMs: wire.maxEjectionMs,
    maxEjectionPercent: inRange(wire.maxEjectionPercent, [0, 100], `${field}.max_ejection_percent`),
  };
}

function inRange(value: number, [min, max]: readonly [number, number], field: string): number {
  return value >= min && value <= max ? value : reject(field, `must be ${min} to ${max}, got ${value}`);
}
