// What is known about one connection, filled in as it becomes known, and how it ended. Metrics, the access log and the
// admin dump are all made from this and nothing else.

import type { SourceLabels } from '../mesh/hbone/metadata.ts';
import type { IpAddress } from '../mesh/model/ip-address.ts';
import type { Service } from '../mesh/model/service.ts';
import type { SpiffeId } from '../mesh/model/spiffe-id.ts';
import type { Workload } from '../mesh/model/workload.ts';

/** Istio's response flags (WIRE 7), and Envoy's `UH`: no endpoint of the waypoint is ready, or a circuit is open. */
export type ResponseFlag =
  | '-'
  | 'DENY'
  | 'CONNECT'
  | 'TLS_FAILURE'
  | 'H2_HANDSHAKE_FAILURE'
  | 'NETWORK_POLICY'
  | 'IDENTITY_ERROR'
  | 'CERT_REVOKED'
  | 'UH';

/** Filled in by whoever counts. */
export interface SeriesText {
  labels: string | undefined;
}

export interface ConnectionInfo {
  readonly direction: 'inbound' | 'outbound';
  /** Wall clock, ms. */
  readonly startedAt: number;
  readonly sourceAddress: IpAddress;
  readonly sourcePort: number;
  sourceWorkload: Workload | undefined;
  /** The client's labels where its workload is not known here (from baggage). */
  sourceLabels: SourceLabels | undefined;
  sourceIdentity: SpiffeId | undefined;
  /** The next hop: for a tunnel its port 15008. */
  destinationAddress: IpAddress;
  destinationPort: number;
  /** The CONNECT authority; undefined without a tunnel. */
  hboneAuthority: string | undefined;
  destinationWorkload: Workload | undefined;
  destinationService: Service | undefined;
  /** Hostname of the Service when the Service itself is not known here. */
  destinationServiceName: string | undefined;
  destinationIdentity: SpiffeId | undefined;
  mutualTls: boolean;
  /** Set where the connection did not go through the proxy. */
  readonly via?: 'same-node path';
  /** One for all connections with the same labels: their text is made once. */
  readonly series?: SeriesText;
  /** While it is open, of whoever counts: what it is counted under, whatever becomes known of it later. */
  counted?: object | undefined;
}

export interface ConnectionEnd {
  /** Bytes from the client to the server. */
  readonly received: number;
  /** Bytes from the server to the client. */
  readonly sent: number;
  readonly flag: ResponseFlag;
  /** Where the kernel counted; else the time between start and end is the duration. */
  readonly durationMs?: number;
  /** Smoothed round trip at the end, microseconds; only of the same-node path. */
  readonly rttUs?: number;
  /** Absent when the connection ended in order. */
  readonly error?: string;
}
