// WaypointConfig <-> weft.v1.Waypoint.

import type { Any } from '@bufbuild/protobuf/wkt';
import { z } from 'zod';
import type { WaypointConfig } from '../model/routing.ts';
import { decodeDocument, encodeDocument, exactly } from './document.ts';
import { flag, gatewayKey, ipAddress, someText } from './document-fields.ts';
import { WaypointSchema } from './gen/weft/v1/weft_pb.ts';
import type { Decoded, EncodedResource } from './resource.ts';

/** A resource named by the Gateway's key. */
export function encodeWaypoint(config: WaypointConfig): EncodedResource {
  return encodeDocument(WaypointSchema, config, config.gateway);
}

/** Never throws; the reason names the field. */
export function decodeWaypoint(any: Any): Decoded<WaypointConfig> {
  return decodeDocument(any, { message: WaypointSchema, schema: waypointConfig });
}

const waypointConfig = exactly<WaypointConfig>({
  gateway: gatewayKey,
  servesFor: z.enum(['service', 'workload', 'all', 'none']),
  serviceAccount: someText,
  addresses: z.array(ipAddress),
  forwardClientCert: flag,
  explainPolicyTo: z.array(someText).optional(),
});
