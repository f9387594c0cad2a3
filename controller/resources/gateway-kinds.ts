// The kinds of the Gateway API as far as a source must know them: their metadata and the spec as it was written. What
// is in the spec is checked by whoever translates it, because the API's versions differ there and its CRDs may be of
// any release.

import { z } from 'zod';
import type { ObjectMeta } from './object-meta.ts';

export const gatewayGroup = 'gateway.networking.k8s.io';

export const gatewayObjectSchema = z.object({ spec: z.record(z.string(), z.unknown()).default({}) });

export interface GatewayObject {
  readonly metadata: ObjectMeta;
  readonly spec: Readonly<Record<string, unknown>>;
}

export const gatewayKindNames = [
  'GatewayClass',
  'Gateway',
  'HTTPRoute',
  'GRPCRoute',
  'TCPRoute',
  'TLSRoute',
  'ReferenceGrant',
] as const;

export type GatewayKindName = (typeof gatewayKindNames)[number];

/** Best first; a cluster serves some of them, depending on the release and channel that is installed. */
export const gatewayVersions = ['v1', 'v1beta1', 'v1alpha3', 'v1alpha2'] as const;
