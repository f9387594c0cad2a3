// X-Forwarded-Client-Cert as Envoy writes it: who vouches and for whom, by SPIFFE id. Only where the gateway is told to.

import type { SpiffeId } from '../../mesh/model/spiffe-id.ts';
import type { ClientConnection } from './client-connection.ts';

/** Undefined for a client without a verified identity: then no such header goes to the application. */
export function formatClientCert(
  client: ClientConnection,
  waypoint: SpiffeId | undefined,
): string | undefined {
  if (client.spiffeId === undefined) return undefined;
  return waypoint === undefined ? `URI=${client.spiffeId}` : `By=${waypoint};URI=${client.spiffeId}`;
}
