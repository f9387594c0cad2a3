// The metadata by which a proxy shows the controller who it is, the same on every call.

import { Metadata } from '@grpc/grpc-js';

/** What an HTTP header takes without change. */
const headerText = /^[\x21-\x7e]+$/;

/** @param token undefined where none is needed @throws Error for one that is empty or no header takes */
export function bearerMetadata(token: string | undefined, clusterId: string): Metadata {
  const metadata = new Metadata();
  metadata.set('clusterid', clusterId);
  const trimmed = token?.trim();
  if (trimmed === undefined) return metadata;
  // Checked here, because the error of Metadata.set() would carry the token into the log.
  if (!headerText.test(trimmed)) throw new Error('The token is empty or has characters no header takes');
  metadata.set('authorization', `Bearer ${trimmed}`);
  return metadata;
}
