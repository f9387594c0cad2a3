// Resources of our own types: weft.v1.MeshConfig (one, named "mesh"), weft.v1.EnrolledNamespaces (one, named "enrolled")
// and weft.v1.NodePod (named by the pod's uid).

import { create } from '@bufbuild/protobuf';
import type { Any } from '@bufbuild/protobuf/wkt';
import { ipToBytes } from '../model/ip-address.ts';
import { defaultMeshConfig, type MeshConfig, type TracingConfig } from '../model/mesh-config.ts';
import type { NodePod } from '../model/node-pod.ts';
import type { WorkloadUid } from '../model/workload.ts';
import { decode, decodeEnum, decodeIp, decodePort, encodeEnum, reject, requireText } from './decode-field.ts';
import {
  EnrolledNamespacesSchema,
  MeshConfigSchema,
  type MeshConfig_Tracing,
  NodePodSchema,
} from './gen/weft/v1/weft_pb.ts';
import { type Decoded, type EncodedResource, encodeResource } from './resource.ts';
import { workloadFromWire, workloadToWire } from './workload-codec.ts';

/** Name of the only MeshConfig resource. */
export const meshConfigName = 'mesh';
/** Name of the only EnrolledNamespaces resource. */
export const enrolledNamespacesName = 'enrolled';

// Position 0 is the unset value: the built-in default applies.
const mtlsModes = [defaultMeshConfig.mtls, 'permissive', 'strict'] as const;
const unknownDestinations = [defaultMeshConfig.unknownDestinations, 'allow', 'deny'] as const;
const sameNodes = [defaultMeshConfig.sameNode, 'kernel', 'proxy'] as const;
const accessLogs = [defaultMeshConfig.accessLog, 'all', 'failures', 'off'] as const;

export function encodeMeshConfig(config: MeshConfig): EncodedResource {
  const message = create(MeshConfigSchema, {
    trustDomain: config.trustDomain,
    mtls: encodeEnum(mtlsModes, config.mtls),
    unknownDestinations: encodeEnum(unknownDestinations, config.unknownDestinations),
    accessLog: encodeEnum(accessLogs, config.accessLog),
    sameNode: encodeEnum(sameNodes, config.sameNode),
    ...(config.tracing && { tracing: config.tracing }),
  });
  return encodeResource(MeshConfigSchema, message, { name: meshConfigName });
}

/** Never throws; the reason names the field. */
export function decodeMeshConfig(any: Any): Decoded<MeshConfig> {
  return decode(MeshConfigSchema, any, (wire) => ({
    trustDomain: wire.trustDomain || defaultMeshConfig.trustDomain,
    mtls: decodeEnum(mtlsModes, wire.mtls, 'mtls'),
    unknownDestinations: decodeEnum(unknownDestinations, wire.unknownDestinations, 'unknown_destinations'),
    accessLog: decodeEnum(accessLogs, wire.accessLog, 'access_log'),
    sameNode: decodeEnum(sameNodes, wire.sameNode, 'same_node'),
    ...(wire.tracing && { tracing: decodeTracing(wire.tracing) }),
  }));
}

function decodeTracing({ endpoint, samplingPercent }: MeshConfig_Tracing): TracingConfig {
  if (!isHttpUrl(endpoint))
    reject('tracing.endpoint', `is no http or https URL: ${JSON.stringify(endpoint)}`);
  if (!(samplingPercent >= 0 && samplingPercent <= 100))
    reject('tracing.sampling_percent', `must be 0 to 100, got ${samplingPercent}`);
  return { endpoint, samplingPercent };
}

function isHttpUrl(text: string): boolean {
  const protocol = URL.parse(text)?.protocol;
  return protocol === 'http:' || protocol === 'https:';
}

export function encodeEnrolledNamespaces(names: readonly string[]): EncodedResource {
  const message = create(EnrolledNamespacesSchema, { names: [...names] });
  return encodeResource(EnrolledNamespacesSchema, message, { name: enrolledNamespacesName });
}

/** Never throws; the reason names the field. */
export function decodeEnrolledNamespaces(any: Any): Decoded<readonly string[]> {
  return decode(EnrolledNamespacesSchema, any, ({ names }) =>
    names.map((name, i) => {
      // RFC 1123 labels, as Kubernetes demands of namespaces: one a line is a format of its own elsewhere.
      if (!/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/.test(name))
        reject(`names[${i}]`, `is no name of a namespace: ${JSON.stringify(name)}`);
      return name;
    }),
  );
}

export function encodeNodePod(pod: NodePod): EncodedResource {
  const { sameNode, starting, probePorts, ...rest } = pod;
  const message = create(NodePodSchema, {
    ...rest,
    addresses: pod.addresses.map(ipToBytes),
    sameNodeProxy: sameNode === 'proxy',
    probePorts: [...(probePorts ?? [])],
    ...(starting && { starting: workloadToWire(starting) }),
  });
  return encodeResource(NodePodSchema, message, { name: pod.uid });
}

/** Never throws; the reason names the field. No part of an identity has a default here: our controller knows them all. */
export function decodeNodePod(any: Any): Decoded<NodePod> {
  return decode(NodePodSchema, any, (wire) => ({
    uid: requireText(wire.uid, 'uid') as WorkloadUid,
    name: requireText(wire.name, 'name'),
    namespace: requireText(wire.namespace, 'namespace'),
    serviceAccount: requireText(wire.serviceAccount, 'service_account'),
    trustDomain: requireText(wire.trustDomain, 'trust_domain'),
    node: wire.node,
    addresses: wire.addresses.map((bytes, i) => decodeIp(bytes, `addresses[${i}]`)),
    netns: requireText(wire.netns, 'netns'),
    enrolled: wire.enrolled,
    ...(wire.starting && { starting: workloadFromWire(wire.starting) }),
    ...(wire.sameNodeProxy && { sameNode: 'proxy' as const }),
    ...(wire.probePorts.length > 0 && {
      probePorts: wire.probePorts.map((port, i) => decodePort(port, `probe_ports[${i}]`)),
    }),
  }));
}
