// Where and how one endpoint is reached: everything that tells two connections to endpoints apart.

import type { IpAddress } from '../../../mesh/model/ip-address.ts';
import type { SpiffeId } from '../../../mesh/model/spiffe-id.ts';
import type { WorkloadUid } from '../../../mesh/model/workload.ts';

export type UpstreamProtocol = 'http1' | 'http2';

export interface EndpointAddress {
  readonly uid: WorkloadUid;
  readonly address: IpAddress;
  /** Of the application. */
  readonly port: number;
  /** Identities one of which the endpoint's tunnel must show; undefined: plain TCP. */
  readonly expected: readonly SpiffeId[] | undefined;
}

/** Why there is no connection. `denied`: the destination's own policy said no, which says nothing about the endpoint. */
export interface ConnectFailure {
  readonly kind: 'connect' | 'tunnel' | 'denied';
  readonly message: string;
  /** Another endpoint, or another try, may be luckier. */
  readonly retryable: boolean;
}
