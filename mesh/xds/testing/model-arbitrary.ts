// Random values of the model for property tests: every field, canonical as the model demands (addresses from the
// parser, host bits of ranges cleared). Only tests import this.

import fc from 'fast-check';
import type { AuthorizationPolicy, Match, StringMatch } from '../../model/authorization.ts';
import { type Cidr, type IpAddress, ipBits, ipFromBytes, makeCidr } from '../../model/ip-address.ts';
import { policyKey, serviceKey } from '../../model/key.ts';
import type { MeshConfig } from '../../model/mesh-config.ts';
import type { NodePod } from '../../model/node-pod.ts';
import type { Service } from '../../model/service.ts';
import type { TrafficPolicy } from '../../model/traffic-policy.ts';
import type { GatewayAddress, PolicyKey, Workload, WorkloadUid } from '../../model/workload.ts';

export const label = fc.stringMatching(/^[a-z][a-z0-9-]{0,8}$/);
export const text = fc.oneof(fc.constant(''), fc.string({ unit: 'grapheme', maxLength: 12 }));
export const someText = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 12 });
const port = fc.nat(65_535);
const uint32 = fc.nat(0xffff_ffff);

export const ip: fc.Arbitrary<IpAddress> = fc
  .oneof(fc.uint8Array({ minLength: 4, maxLength: 4 }), fc.uint8Array({ minLength: 16, maxLength: 16 }))
  .map(ipFromBytes);

const cidr: fc.Arbitrary<Cidr> = fc
  .tuple(ip, fc.nat(128))
  .map(([address, length]) => makeCidr(address, Math.min(length, ipBits(address))) as Cidr);

const gateway: fc.Arbitrary<GatewayAddress> = fc.record({
  destination: fc.oneof(
    fc.record({ kind: fc.constant('hostname' as const), namespace: label, hostname: label }),
    fc.record({ kind: fc.constant('address' as const), network: text, address: ip }),
  ),
  hboneMtlsPort: port,
});

export const service = fc.tuple(label, label).map(([namespace, hostname]) => serviceKey(namespace, hostname));

export const workloadArbitrary: fc.Arbitrary<Workload> = fc.record(
  {
    uid: someText.map((uid) => uid as WorkloadUid),
    name: text,
    namespace: text,
    network: text,
    addresses: fc.array(ip, { maxLength: 3 }),
    hostname: text,
    trustDomain: someText,
    serviceAccount: someText,
    tunnelProtocol: fc.constantFrom('none', 'hbone'),
    node: text,
    canonicalName: text,
    canonicalRevision: text,
    workloadType: fc.constantFrom('deployment', 'cronjob', 'pod', 'job'),
    workloadName: text,
    clusterId: someText,
    health: fc.constantFrom('healthy', 'unhealthy'),
    networkMode: fc.constantFrom('standard', 'host-network'),
    capacity: uint32,
    locality: fc.record({ region: text, zone: text, subzone: text }),
    services: fc
      .array(
        fc.tuple(service, fc.array(fc.record({ servicePort: port, targetPort: port }), { maxLength: 3 })),
        { maxLength: 3 },
      )
      .map((entries) => new Map(entries)),
    authorizationPolicies: fc.array(
      text.map((key) => key as PolicyKey),
      { maxLength: 3 },
    ),
    waypoint: gateway,
    waypointMissing: fc.constantFrom('refuse', 'l4-only'),
    networkGateway: gateway,
    applicationTunnel: fc.record({ protocol: fc.constantFrom('none', 'proxy'), port }),
  },
  { requiredKeys: workloadRequired() },
);

function workloadRequired() {
  return [
    'uid',
    'name',
    'namespace',
    'network',
    'addresses',
    'hostname',
    'trustDomain',
    'serviceAccount',
    'tunnelProtocol',
    'node',
    'canonicalName',
    'canonicalRevision',
    'workloadType',
    'workloadName',
    'clusterId',
    'health',
    'networkMode',
    'capacity',
    'locality',
    'services',
    'authorizationPolicies',
  ] as const satisfies (keyof Workload)[];
}

const trafficPolicy: fc.Arbitrary<TrafficPolicy> = fc.record(
  {
    key: someText,
    connectTimeoutMs: fc.integer({ min: 1, max: 60_000 }),
    idleTimeoutMs: uint32,
    maxConnections: uint32,
    dialAttempts: fc.integer({ min: 1, max: 10 }),
    balancing: fc.constantFrom('peak-ewma', 'least-connections', 'round-robin', 'weighted-random'),
    outlierDetection: fc.record({
      consecutiveFailures: fc.integer({ min: 1, max: 100 }),
      baseEjectionMs: uint32,
      maxEjectionMs: uint32,
      maxEjectionPercent: fc.nat(100),
    }),
  },
  { requiredKeys: ['key'] },
);

export const serviceArbitrary: fc.Arbitrary<Service> = fc
  .record(
    {
      name: text,
      namespace: label,
      hostname: label,
      addresses: fc.array(
        fc.tuple(text, cidr).map(([network, range]) => ({ network, ...range })),
        { maxLength: 3 },
      ),
      ports: fc.array(
        fc.record({
          name: text,
          servicePort: port,
          targetPort: port,
          appProtocol: fc.constantFrom('unknown', 'http11', 'http2', 'grpc', 'tcp', 'tls'),
        }),
        { maxLength: 3 },
      ),
      subjectAltNames: fc.array(text, { maxLength: 2 }),
      weightedWaypoints: fc.array(fc.record({ destination: gateway, weight: uint32 }), { maxLength: 2 }),
      loadBalancing: fc.record({
        mode: fc.constantFrom('unspecified', 'strict', 'failover', 'passthrough'),
        routingPreference: fc.array(
          fc.constantFrom('region', 'zone', 'subzone', 'node', 'cluster', 'network'),
          { maxLength: 6 },
        ),
        healthPolicy: fc.constantFrom('only-healthy', 'allow-all'),
      }),
      ipFamilies: fc.constantFrom('automatic', 'ipv4-only', 'ipv6-only', 'dual'),
      canonical: fc.boolean(),
      visibility: fc.constantFrom('public', 'namespace'),
      waypoint: gateway,
      waypointMissing: fc.constantFrom('refuse', 'l4-only'),
      trafficPolicy,
    },
    {
      requiredKeys: [
        'name',
        'namespace',
        'hostname',
        'addresses',
        'ports',
        'subjectAltNames',
        'weightedWaypoints',
        'loadBalancing',
        'ipFamilies',
        'canonical',
        'visibility',
      ],
    },
  )
  .map((fields) => ({ key: serviceKey(fields.namespace, fields.hostname), ...fields }));

export const stringMatches: fc.Arbitrary<StringMatch[]> = fc.array(
  fc.oneof(
    fc.record({ kind: fc.constantFrom('exact' as const, 'prefix' as const, 'suffix' as const), value: text }),
    fc.constant({ kind: 'presence' as const }),
  ),
  { maxLength: 2 },
);
const cidrs = fc.array(cidr, { maxLength: 2 });
const ports = fc.array(port, { maxLength: 2 });
const accounts = fc.array(fc.record({ namespace: text, serviceAccount: text }), { maxLength: 2 });

export const match: fc.Arbitrary<Match> = fc.record({
  namespaces: stringMatches,
  notNamespaces: stringMatches,
  principals: stringMatches,
  notPrincipals: stringMatches,
  sourceIps: cidrs,
  notSourceIps: cidrs,
  destinationIps: cidrs,
  notDestinationIps: cidrs,
  destinationPorts: ports,
  notDestinationPorts: ports,
  serviceAccounts: accounts,
  notServiceAccounts: accounts,
});

export const authorizationArbitrary: fc.Arbitrary<AuthorizationPolicy> = fc
  .record({
    name: label,
    namespace: label,
    scope: fc.constantFrom('global' as const, 'namespace' as const, 'workload' as const),
    action: fc.constantFrom('allow' as const, 'deny' as const, 'audit' as const),
    dryRun: fc.boolean(),
    rules: fc.array(
      fc.record({
        name: text,
        clauses: fc.array(fc.record({ matches: fc.array(match, { maxLength: 2 }) }), { maxLength: 2 }),
      }),
      { maxLength: 2 },
    ),
  })
  .map((fields) => ({ key: policyKey(fields.namespace, fields.name), ...fields }));

export const meshConfigArbitrary: fc.Arbitrary<MeshConfig> = fc.record(
  {
    trustDomain: someText,
    mtls: fc.constantFrom('strict', 'permissive'),
    unknownDestinations: fc.constantFrom('allow', 'deny'),
    accessLog: fc.constantFrom('all', 'failures', 'off'),
    sameNode: fc.constantFrom('kernel', 'proxy'),
    tracing: fc.record({
      endpoint: fc.webUrl(),
      samplingPercent: fc.double({ min: 0, max: 100, noNaN: true }),
    }),
  },
  { requiredKeys: ['trustDomain', 'mtls', 'unknownDestinations', 'accessLog', 'sameNode'] },
);

export const nodePodArbitrary: fc.Arbitrary<NodePod> = fc.record(
  {
    uid: someText.map((uid) => uid as WorkloadUid),
    name: someText,
    namespace: someText,
    serviceAccount: someText,
    trustDomain: someText,
    node: text,
    addresses: fc.array(ip, { maxLength: 3 }),
    netns: someText,
    enrolled: fc.boolean(),
    sameNode: fc.constant('proxy' as const),
    probePorts: fc.array(fc.integer({ min: 1, max: 65_535 }), { minLength: 1, maxLength: 32 }),
    starting: workloadArbitrary,
  },
  {
    requiredKeys: [
      'uid',
      'name',
      'namespace',
      'serviceAccount',
      'trustDomain',
      'node',
      'addresses',
      'netns',
      'enrolled',
    ],
  },
);
