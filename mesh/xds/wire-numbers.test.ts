// The field numbers of the public APIs, written down a second time: a changed .proto file must not go unnoticed.

import type { DescMessage } from '@bufbuild/protobuf';
import { expect, test } from 'vitest';
import { NodeSchema } from './gen/envoy/config/core/v3/base_pb.ts';
import {
  DeltaDiscoveryRequestSchema,
  DeltaDiscoveryResponseSchema,
  ResourceSchema,
} from './gen/envoy/service/discovery/v3/discovery_pb.ts';
import { StatusSchema } from './gen/google/rpc/status_pb.ts';
import * as security from './gen/istio/security/authorization_pb.ts';
import * as ca from './gen/istio/v1/auth/ca_pb.ts';
import * as workload from './gen/istio/workload/workload_pb.ts';
import * as weft from './gen/weft/v1/weft_pb.ts';

const numbers: readonly (readonly [DescMessage, string])[] = [
  [
    DeltaDiscoveryRequestSchema,
    'node 1 type_url 2 resource_names_subscribe 3 resource_names_unsubscribe 4 initial_resource_versions 5 response_nonce 6 error_detail 7',
  ],
  [DeltaDiscoveryResponseSchema, 'system_version_info 1 resources 2 type_url 4 nonce 5 removed_resources 6'],
  [ResourceSchema, 'version 1 resource 2 name 3 aliases 4'],
  [NodeSchema, 'id 1 cluster 2 metadata 3 build_version 5'],
  [StatusSchema, 'code 1 message 2 details 3'],
  [workload.AddressSchema, 'workload 1 service 2'],
  [
    workload.WorkloadSchema,
    'name 1 namespace 2 addresses 3 network 4 tunnel_protocol 5 trust_domain 6 service_account 7 waypoint 8 node 9 canonical_name 10 canonical_revision 11 workload_type 12 workload_name 13 native_tunnel 14 authorization_policies 16 status 17 cluster_id 18 network_gateway 19 uid 20 hostname 21 services 22 application_tunnel 23 locality 24 network_mode 25 extensions 26 capacity 27',
  ],
  [
    workload.ServiceSchema,
    'name 1 namespace 2 hostname 3 addresses 4 ports 5 subject_alt_names 6 waypoint 7 load_balancing 8 ip_families 9 extensions 10 canonical 11 ingress_use_waypoint 12 weighted_waypoints 13 visibility 14',
  ],
  [workload.PortSchema, 'service_port 1 target_port 2 app_protocol 3'],
  [workload.PortListSchema, 'ports 1'],
  [workload.GatewayAddressSchema, 'hostname 1 address 2 hbone_mtls_port 3'],
  [workload.WeightedWaypointSchema, 'destination 1 weight 2'],
  [workload.NetworkAddressSchema, 'network 1 address 2 length 3'],
  [workload.NamespacedHostnameSchema, 'namespace 1 hostname 2'],
  [workload.LoadBalancingSchema, 'routing_preference 1 mode 2 health_policy 3'],
  [workload.LocalitySchema, 'region 1 zone 2 subzone 3'],
  [workload.ApplicationTunnelSchema, 'protocol 1 port 2'],
  [workload.ExtensionSchema, 'name 1 config 2'],
  [security.AuthorizationSchema, 'name 1 namespace 2 scope 3 action 4 rules 5 dry_run 6 extensions 7'],
  [security.RuleSchema, 'clauses 1'],
  [security.ClauseSchema, 'matches 2'],
  [
    security.MatchSchema,
    'namespaces 1 not_namespaces 2 principals 3 not_principals 4 source_ips 5 not_source_ips 6 destination_ips 7 not_destination_ips 8 destination_ports 9 not_destination_ports 10 service_accounts 11 not_service_accounts 12 extensions 13',
  ],
  [security.AddressSchema, 'address 1 length 2'],
  [security.ServiceAccountMatchSchema, 'namespace 1 service_account 2'],
  [security.StringMatchSchema, 'exact 1 prefix 2 suffix 3 presence 4'],
  [ca.IstioCertificateRequestSchema, 'csr 1 validity_duration 3 metadata 4'],
  [ca.IstioCertificateResponseSchema, 'cert_chain 1'],
  [weft.MeshConfigSchema, 'trust_domain 1 mtls 2 unknown_destinations 3 access_log 4 tracing 5 same_node 6'],
  [weft.EnrolledNamespacesSchema, 'names 1'],
  [
    weft.NodePodSchema,
    'uid 1 name 2 namespace 3 service_account 4 trust_domain 5 node 6 addresses 7 netns 8 enrolled 9 same_node_proxy 10 starting 11 probe_ports 12',
  ],
  [weft.ServiceDetailsSchema, 'port_names 1 traffic_policy 2 waypoint_missing 3'],
  [weft.WorkloadDetailsSchema, 'waypoint_missing 1'],
  [weft.WaypointSchema, 'json 1'],
  [weft.ServiceRoutingSchema, 'json 1'],
  [weft.HttpAuthorizationSchema, 'json 1'],
  [weft.RequestAuthenticationSchema, 'json 1'],
  [
    weft.TrafficPolicySchema,
    'key 1 connect_timeout_ms 2 idle_timeout_ms 3 max_connections 4 dial_attempts 5 balancing 6 outlier_detection 7',
  ],
  [
    weft.OutlierDetectionSchema,
    'consecutive_failures 1 base_ejection_ms 2 max_ejection_ms 3 max_ejection_percent 4',
  ],
  [weft.AuthorizationDetailsSchema, 'action 1 rule_names 2 dry_run 3'],
];

test.each(numbers.map(([schema, fields]) => [schema.typeName, schema, fields] as const))(
  '%s keeps its field numbers',
  (_name, schema, fields) => {
    expect(schema.fields.map(({ name, number }) => `${name} ${number}`).join(' ')).toBe(fields);
  },
);

test('the services keep their paths', () => {
  expect(ca.IstioCertificateService.typeName).toBe('istio.v1.auth.IstioCertificateService');
  expect(ca.IstioCertificateService.methods.map(({ name }) => name)).toEqual(['CreateCertificate']);
});
