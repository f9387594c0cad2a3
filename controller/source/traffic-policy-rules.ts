// Rules between the fields of a TrafficPolicy: its CRD states the same in CEL.

import type { TrafficPolicyObject } from '../resources/own-kinds.ts';
import { parseDurationMs } from '../translate/durations.ts';
import { type BrokenRule, groupRules } from './broken-rule.ts';
import type { FieldPath } from './problem.ts';

type Spec = TrafficPolicyObject['spec'];

const gatewayApi = ['gateway.networking.k8s.io'];
const groups = {
  Service: ['', 'core'],
  ServiceEntry: ['', 'weft.dev'],
  HTTPRoute: gatewayApi,
  GRPCRoute: gatewayApi,
  Gateway: gatewayApi,
};

export function trafficPolicyRules({ spec }: TrafficPolicyObject): BrokenRule[] {
  const message = "A Service has group '', a ServiceEntry 'weft.dev', the others 'gateway.networking.k8s.io'";
  return [
    ...groupRules(spec.targetRefs, groups, message),
    ...durationRules(spec),
    ...hashRules(spec),
    ...timeoutRules(spec),
    ...listRules(spec),
  ];
}

interface Range {
  readonly path: FieldPath;
  readonly min?: string;
  readonly max: string;
}

function durationRules(spec: Spec): BrokenRule[] {
  const { outlierDetection, hashOn, retry, hedging } = spec;
  const entries = [
    [spec.connectTimeout, { path: ['connectTimeout'], min: '1ms', max: '60s' }],
    [spec.idleTimeout, { path: ['idleTimeout'], max: '168h' }],
    [outlierDetection?.baseEjection, { path: ['outlierDetection', 'baseEjection'], min: '1ms', max: '1h' }],
    [outlierDetection?.maxEjection, { path: ['outlierDetection', 'maxEjection'], min: '1ms', max: '24h' }],
    [hashOn?.ttl, { path: ['hashOn', 'ttl'], max: '8760h' }],
    [spec.slowStart, { path: ['slowStart'], min: '1ms', max: '1h' }],
    [spec.requestTimeout, { path: ['requestTimeout'], max: '24h' }],
    [spec.perTryTimeout, { path: ['perTryTimeout'], max: '24h' }],
    [retry?.backoff, { path: ['retry', 'backoff'], min: '1ms', max: '60s' }],
    [hedging?.delay, { path: ['hedging', 'delay'], min: '1ms', max: '60s' }],
    ...(spec.rateLimits ?? []).map(
      ({ interval }, i) =>
        [interval, { path: ['rateLimits', i, 'interval'], min: '1ms', max: '24h' }] as const,
    ),
    ...(spec.faults ?? []).map(
      ({ delay }, i) =>
        [delay?.duration, { path: ['faults', i, 'delay', 'duration'], min: '1ms', max: '1h' }] as const,
    ),
  ] satisfies readonly (readonly [string | undefined, Range])[];
  return entries.flatMap(([text, range]) => durationRule(text, range));
}

function durationRule(text: string | undefined, { path, min, max }: Range): BrokenRule[] {
  if (text === undefined) return [];
  const ms = parseDurationMs(text);
  const low = min === undefined ? 0 : (parseDurationMs(min) as number);
  if (ms !== undefined && ms >= low && ms <= (parseDurationMs(max) as number)) return [];
  const range = min === undefined ? `at most ${max}` : `between ${min} and ${max}`;
  return [{ path: ['spec', ...path], message: `Must be ${range}` }];
}

function hashRules({ balancing, hashOn }: Spec): BrokenRule[] {
  if ((balancing === 'RingHash' || balancing === 'Maglev') && hashOn === undefined) {
    return [{ path: ['spec', 'hashOn'], message: 'RingHash and Maglev need hashOn' }];
  }
  if (hashOn === undefined) return [];
  const broken: BrokenRule[] = [];
  if ((hashOn.kind === 'Source') !== (hashOn.name === undefined)) {
    const message = 'A Header or Cookie needs a name, Source has none';
    broken.push({ path: ['spec', 'hashOn', 'name'], message });
  }
  if (hashOn.ttl !== undefined && hashOn.kind !== 'Cookie') {
    broken.push({ path: ['spec', 'hashOn', 'ttl'], message: 'Only a Cookie has a ttl' });
  }
  return broken;
}

function timeoutRules({ requestTimeout, perTryTimeout }: Spec): BrokenRule[] {
  if (requestTimeout === undefined || perTryTimeout === undefined) return [];
  const requestMs = parseDurationMs(requestTimeout) ?? 0;
  if (requestMs === 0 || (parseDurationMs(perTryTimeout) ?? 0) <= requestMs) return [];
  const message = 'The perTryTimeout must not be longer than the requestTimeout';
  return [{ path: ['spec', 'perTryTimeout'], message }];
}

function listRules({ rateLimits = [], faults = [] }: Spec): BrokenRule[] {
  const limits = rateLimits.flatMap(({ per, header }, i) =>
    (per === 'Header') === (header !== undefined)
      ? []
      : [
          {
            path: ['spec', 'rateLimits', i, 'header'],
            message: 'With per Header the header is needed, else there is none',
          },
        ],
  );
  const empty = faults.flatMap(({ delay, abort }, i) =>
    delay === undefined && abort === undefined
      ? [{ path: ['spec', 'faults', i], message: 'A fault needs a delay or an abort' }]
      : [],
  );
  return [...limits, ...empty];
}
