// ServiceRouting <-> weft.v1.ServiceRouting.

import type { Any } from '@bufbuild/protobuf/wkt';
import { z } from 'zod';
import type * as model from '../model/routing.ts';
import { decodeDocument, eitherKind, encodeDocument, exactly } from './document.ts';
import {
  count,
  flag,
  gatewayKey,
  headerName,
  ms,
  port,
  serviceKey,
  someText,
  status,
  text,
  texts,
} from './document-fields.ts';
import { ServiceRoutingSchema } from './gen/weft/v1/weft_pb.ts';
import { httpTrafficPolicySchema } from './http-traffic-policy-schema.ts';
import type { Decoded, EncodedResource } from './resource.ts';

/** A resource named by the routing's key. */
export function encodeServiceRouting(routing: model.ServiceRouting): EncodedResource {
  return encodeDocument(ServiceRoutingSchema, routing, routing.key);
}

/** Never throws; the reason names the field. */
export function decodeServiceRouting(any: Any): Decoded<model.ServiceRouting> {
  return decodeDocument(any, { message: ServiceRoutingSchema, schema: serviceRouting });
}

const routeName = exactly<model.RouteName>({
  kind: z.enum(['HTTPRoute', 'GRPCRoute', 'TCPRoute', 'TLSRoute']),
  namespace: someText,
  name: someText,
  rule: text,
});

const target = eitherKind<model.Backend['target']>([
  exactly({ kind: z.literal('service'), service: serviceKey, port }),
  exactly({ kind: z.literal('invalid'), reason: text }),
]);

const pair = z.tuple([headerName, text]);
const headerEdit = { set: z.array(pair), add: z.array(pair), remove: z.array(headerName) };
const pathEdit = eitherKind<model.PathEdit>([
  exactly({ kind: z.literal('full'), value: text }),
  exactly({ kind: z.literal('prefix'), value: text }),
]);

const filter = eitherKind<model.HttpFilter>([
  exactly<Extract<model.HttpFilter, { kind: 'request-headers' }>>({
    kind: z.literal('request-headers'),
    ...headerEdit,
  }),
  exactly<Extract<model.HttpFilter, { kind: 'response-headers' }>>({
    kind: z.literal('response-headers'),
    ...headerEdit,
  }),
  exactly<model.RedirectFilter>({
    kind: z.literal('redirect'),
    scheme: z.enum(['http', 'https']).optional(),
    hostname: someText.optional(),
    path: pathEdit.optional(),
    port: port.optional(),
    status: z.literal([301, 302, 303, 307, 308]),
  }),
  exactly<model.RewriteFilter>({
    kind: z.literal('rewrite'),
    hostname: someText.optional(),
    path: pathEdit.optional(),
  }),
  exactly<model.MirrorFilter>({
    kind: z.literal('mirror'),
    target,
    numerator: count,
    denominator: count.min(1),
  }),
  exactly<model.CorsFilter>({
    kind: z.literal('cors'),
    allowOrigins: texts,
    allowCredentials: flag,
    allowMethods: texts,
    allowHeaders: texts,
    exposeHeaders: texts,
    maxAgeSeconds: count,
  }),
  exactly<model.ExternalAuthFilter>({
    kind: z.literal('external-auth'),
    protocol: z.enum(['http', 'grpc']),
    target,
    path: text,
    allowedHeaders: z.array(headerName),
    allowedResponseHeaders: z.array(headerName),
    maxBodyBytes: count,
  }),
]);

const backend = exactly<model.Backend>({ weight: count.max(1_000_000), target, filters: z.array(filter) });
const backends = z.array(backend);
const namedMatch = z.array(
  exactly<model.NamedMatch>({ name: someText, kind: z.enum(['exact', 'regex']), value: text }),
);

const httpMatch = exactly<model.HttpMatch>({
  path: exactly<NonNullable<model.HttpMatch['path']>>({
    kind: z.enum(['exact', 'prefix', 'regex']),
    value: text,
  }).optional(),
  method: someText.optional(),
  headers: namedMatch,
  query: namedMatch,
  grpc: exactly<model.GrpcMethodMatch>({
    kind: z.enum(['exact', 'regex']),
    service: text.optional(),
    method: text.optional(),
  }).optional(),
});

const httpRule = exactly<model.HttpRule>({
  name: routeName,
  matches: z.array(httpMatch),
  filters: z.array(filter),
  backends,
  timeouts: exactly<model.RouteTimeouts>({ requestMs: ms.optional(), backendRequestMs: ms.optional() }),
  retry: exactly<model.RouteRetry>({
    codes: z.array(status),
    attempts: count,
    backoffMs: ms.optional(),
  }).optional(),
  sessionPersistence: exactly<model.SessionPersistence>({
    kind: z.enum(['cookie', 'header']),
    name: someText,
    absoluteTimeoutMs: ms.optional(),
    permanent: flag,
    idleTimeoutMs: ms.optional(),
  }).optional(),
  trafficPolicy: httpTrafficPolicySchema.optional(),
});

const routeSet = exactly<model.RouteSet>({
  http: z.array(httpRule),
  tcp: exactly<model.L4Rule>({ name: routeName, backends }).optional(),
  tls: z.array(exactly<model.RouteSet['tls'][number]>({ name: routeName, backends, hostnames: texts })),
});

const serviceRouting = exactly<model.ServiceRouting>({
  key: someText.transform((value) => value as model.RoutingKey),
  gateway: gatewayKey,
  service: serviceKey,
  ports: z.array(
    exactly<model.PortRouting>({
      port,
      routes: routeSet,
      consumers: z.array(
        exactly<model.PortRouting['consumers'][number]>({ namespace: someText, routes: routeSet }),
      ),
    }),
  ),
  trafficPolicy: httpTrafficPolicySchema.optional(),
  backendPolicies: z
    .array(
      exactly<NonNullable<model.ServiceRouting['backendPolicies']>[number]>({
        service: serviceKey,
        policy: httpTrafficPolicySchema,
      }),
    )
    .optional(),
});
