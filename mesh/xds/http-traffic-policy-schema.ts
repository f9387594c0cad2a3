// The L7 part of a TrafficPolicy as documents carry it. Ranges are checked again here, as for the L4 part: the policy
// decides how often a waypoint tries and how much it holds.

import { z } from 'zod';
import type {
  Fault,
  HashKey,
  HttpTrafficPolicy,
  OutlierDetection,
  RateLimit,
  RequestCondition,
} from '../model/traffic-policy.ts';
import { eitherKind, exactly } from './document.ts';
import { count, flag, headerName, ms, percent, someText, status, text, texts } from './document-fields.ts';

type Of<K extends keyof HttpTrafficPolicy> = NonNullable<HttpTrafficPolicy[K]>;

const balancings = [
  'peak-ewma',
  'least-connections',
  'round-robin',
  'weighted-random',
  'random',
  'ring-hash',
  'maglev',
] as const;

const condition = exactly<RequestCondition>({
  pathPrefix: text.optional(),
  methods: texts,
  headers: z.array(exactly<RequestCondition['headers'][number]>({ name: headerName, value: text })),
}).optional();

const hashOn = eitherKind<HashKey>([
  exactly({ kind: z.literal('header'), name: headerName }),
  exactly({ kind: z.literal('cookie'), name: someText, ttlMs: count.optional() }),
  exactly({ kind: z.literal('source') }),
]);

const rateLimit = exactly<RateLimit>({
  key: eitherKind<RateLimit['key']>([
    exactly({ kind: z.enum(['all', 'identity', 'namespace', 'source-ip']) }),
    exactly({ kind: z.literal('header'), name: headerName }),
  ]),
  requests: count.min(1),
  intervalMs: ms.min(1).max(86_400_000),
  burst: count.min(1),
  when: condition,
});

const fault = exactly<Fault>({
  when: condition,
  delay: exactly<NonNullable<Fault['delay']>>({ ms, percent }).optional(),
  abort: exactly<NonNullable<Fault['abort']>>({
    status,
    grpcStatus: count.max(16).optional(),
    percent,
  }).optional(),
});

const retry = exactly<Of<'retry'>>({
  attempts: count.max(100),
  codes: z.array(status),
  backoffMs: ms,
  unsafe: flag,
});

export const httpTrafficPolicySchema = exactly<HttpTrafficPolicy>({
  key: someText,
  balancing: z.enum(balancings).optional(),
  hashOn: hashOn.optional(),
  slowStartMs: ms.optional(),
  maxPendingRequests: count.optional(),
  maxRequests: count.optional(),
  maxRequestsPerConnection: count.optional(),
  requestTimeoutMs: ms.optional(),
  perTryTimeoutMs: ms.optional(),
  retry: retry.optional(),
  retryBudget: exactly<Of<'retryBudget'>>({ percent, minPerSecond: z.number().min(0) }).optional(),
  hedging: exactly<Of<'hedging'>>({ delayMs: ms, maxAttempts: count.max(100) }).optional(),
  rateLimits: z.array(rateLimit).optional(),
  faults: z.array(fault).optional(),
  maxRequestBodyBytes: count.optional(),
  maxHeaderBytes: count.optional(),
  ejection: exactly<OutlierDetection>({
    consecutiveFailures: count.min(1).max(100),
    baseEjectionMs: ms.min(1),
    maxEjectionMs: ms.min(1),
    maxEjectionPercent: count.max(100),
  }).optional(),
  httpOutlierDetection: exactly<Of<'httpOutlierDetection'>>({
    consecutive5xx: count,
    consecutiveGatewayErrors: count,
    successRateDeviations: z.number().min(0),
    latencyFactor: z.number().min(0),
  }).optional(),
});
