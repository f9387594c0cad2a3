// The Kubernetes objects the mesh reads, as zod schemas of the fields it needs; everything else is dropped here,
// so that a large cluster's objects stay small in memory. Absent lists and maps become empty ones.

import { z } from 'zod';
import { labelNamePattern, type ObjectMeta } from './object-meta.ts';

const portText = 'Must be a port from 1 to 65535';
const port = z.number().int(portText).min(1, portText).max(65535, portText);
const protocol = z.enum(['TCP', 'UDP', 'SCTP']).default('TCP');
const list = <T extends z.ZodType>(item: T) =>
  z
    .array(item)
    .nullish()
    .transform((items) => items ?? []);

/** Of a probe or hook; what runs in the container itself is left out. */
const asked = z.object({ port: z.union([port, z.string()]), host: z.string().optional() }).optional();
const handler = z.object({ httpGet: asked, tcpSocket: asked, grpc: asked }).optional();

const container = z.object({
  ports: list(z.object({ name: z.string().default(''), containerPort: port, protocol })),
  startupProbe: handler,
  livenessProbe: handler,
  readinessProbe: handler,
  lifecycle: z.object({ postStart: handler, preStop: handler }).optional(),
});

export const podSchema = z.object({
  spec: z.object({
    nodeName: z.string().default(''),
    serviceAccountName: z.string().max(253).default('default'),
    hostNetwork: z.boolean().default(false),
    containers: list(container),
    /** Only native sidecars (restartPolicy Always) serve ports for longer than the start. */
    initContainers: list(container.extend({ restartPolicy: z.string().optional() })),
  }),
  status: z
    .object({
      phase: z.string().optional(),
      podIP: z.string().optional(),
      podIPs: list(z.object({ ip: z.string() })),
      /** Others, of which a pod's life brings many, are not what the mesh is made of. */
      conditions: list(z.object({ type: z.string(), status: z.string() })).transform((conditions) =>
        conditions.filter(({ type }) => type === 'Ready'),
      ),
    })
    .optional(),
});

export const serviceSchema = z.object({
  spec: z.object({
    type: z.enum(['ClusterIP', 'NodePort', 'LoadBalancer', 'ExternalName']).default('ClusterIP'),
    /** Absent: endpoints come from EndpointSlices. */
    selector: z.record(z.string(), z.string()).nullish(),
    clusterIP: z.string().optional(),
    clusterIPs: list(z.string()),
    ipFamilies: list(z.enum(['IPv4', 'IPv6'])),
    ports: list(
      z.object({
        name: z.string().default(''),
        port,
        protocol,
        targetPort: z.union([port, z.string().min(1).max(15)]).optional(),
        appProtocol: z.string().optional(),
      }),
    ),
    sessionAffinity: z.enum(['None', 'ClientIP']).default('None'),
    publishNotReadyAddresses: z.boolean().default(false),
    internalTrafficPolicy: z.enum(['Cluster', 'Local']).default('Cluster'),
    trafficDistribution: z.string().optional(),
  }),
});

export const endpointSliceSchema = z.object({
  addressType: z.enum(['IPv4', 'IPv6', 'FQDN']),
  endpoints: list(
    z.object({
      addresses: z.array(z.string()).min(1).max(100),
      conditions: z.object({ ready: z.boolean().nullish() }).optional(),
      nodeName: z.string().optional(),
      zone: z.string().optional(),
    }),
  ),
  ports: list(
    z.object({ name: z.string().nullish(), port: port.nullish(), protocol: protocol.nullable().optional() }),
  ),
});

/** Their metadata is all the mesh reads. */
export const metadataOnlySchema = z.object({});

type Typed<S extends z.ZodType> = z.output<S> & { readonly metadata: ObjectMeta };

export interface Namespace {
  readonly metadata: ObjectMeta;
}
export interface Node {
  readonly metadata: ObjectMeta;
}
export interface ServiceAccount {
  readonly metadata: ObjectMeta;
}
export type Pod = Typed<typeof podSchema>;
export type KubernetesService = Typed<typeof serviceSchema>;
export type EndpointSlice = Typed<typeof endpointSliceSchema>;

/** Services are DNS labels; the rest of the core kinds follow the general rule for names. */
export function isValidServiceName(name: string): boolean {
  return name.length <= 63 && labelNamePattern.test(name);
}
