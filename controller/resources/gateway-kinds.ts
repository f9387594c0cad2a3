// The kinds of the Gateway API that a mesh reads. Their specs are checked with the limits of the API's own definitions,
// so a file is refused for what an API server would refuse it for; what is valid there but means nothing here, or is of
// a release that is newer than this, is judged by whoever translates it.

import type { z } from 'zod';
import { gatewayGroupName } from './gateway-fields.ts';
import {
  type GatewayClassObject,
  type GatewayObject,
  gatewayClassSchema,
  gatewaySchema,
  type ReferenceGrantObject,
  referenceGrantSchema,
} from './gateway-gateway.ts';
import { type GrpcRouteObject, grpcRouteSchema } from './gateway-grpc-route.ts';
import { type HttpRouteObject, httpRouteSchema } from './gateway-http-route.ts';
import {
  type TcpRouteObject,
  tcpRouteSchema,
  type TlsRouteObject,
  tlsRouteSchema,
} from './gateway-l4-routes.ts';

export const gatewayGroup = gatewayGroupName;

export interface GatewayTypes {
  GatewayClass: GatewayClassObject;
  Gateway: GatewayObject;
  HTTPRoute: HttpRouteObject;
  GRPCRoute: GrpcRouteObject;
  TCPRoute: TcpRouteObject;
  TLSRoute: TlsRouteObject;
  ReferenceGrant: ReferenceGrantObject;
}

export type GatewayKindName = keyof GatewayTypes;

export const gatewaySchemas: { readonly [K in GatewayKindName]: z.ZodType } = {
  GatewayClass: gatewayClassSchema,
  Gateway: gatewaySchema,
  HTTPRoute: httpRouteSchema,
  GRPCRoute: grpcRouteSchema,
  TCPRoute: tcpRouteSchema,
  TLSRoute: tlsRouteSchema,
  ReferenceGrant: referenceGrantSchema,
};

export const gatewayKindNames = Object.keys(gatewaySchemas) as readonly GatewayKindName[];

/** Kinds whose status is a list of what each of their parents makes of them. */
export const routeKindNames = ['HTTPRoute', 'GRPCRoute', 'TCPRoute', 'TLSRoute'] as const;
export type RouteKindName = (typeof routeKindNames)[number];

/** Best first; a cluster serves some of them, depending on the release and channel that is installed. */
export const gatewayVersions = ['v1', 'v1beta1', 'v1alpha3', 'v1alpha2'] as const;
