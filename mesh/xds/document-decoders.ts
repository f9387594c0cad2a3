// The decoders of the documents that waypoints read, as a value that is given to whoever reads them: a node tunnel never
// loads them, nor the schema library behind them.

import type { DocumentDecoders } from './response-reader.ts';
import { decodeHttpAuthorization } from './http-authorization-codec.ts';
import { decodeRequestAuthentication } from './request-authentication-codec.ts';
import { decodeServiceRouting } from './routing-codec.ts';
import {
  httpAuthorizationType,
  requestAuthenticationType,
  serviceRoutingType,
  waypointType,
} from './type-urls.ts';
import { decodeWaypoint } from './waypoint-codec.ts';

export const documentDecoders: DocumentDecoders = {
  [waypointType]: decodeWaypoint,
  [serviceRoutingType]: decodeServiceRouting,
  [httpAuthorizationType]: decodeHttpAuthorization,
  [requestAuthenticationType]: decodeRequestAuthentication,
};
