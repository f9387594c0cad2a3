// What is known of the client side of a connection, once a connection: who it is by its certificate, where it is, what
// it asked for. Shared by every request on it; never changes.

import type { IpAddress } from '../../mesh/model/ip-address.ts';
import type { Service } from '../../mesh/model/service.ts';
import type { Identity, SpiffeId } from '../../mesh/model/spiffe-id.ts';
import type { Workload } from '../../mesh/model/workload.ts';

export type ListenerKind = 'hbone' | 'plain';

export interface ClientConnection {
  readonly listener: ListenerKind;
  /** Of the original client, not of its node's tunnel. */
  readonly address: IpAddress;
  readonly port: number;
  /** By mutual TLS; undefined on a plain listener. */
  readonly peer: Identity | undefined;
  readonly spiffeId: SpiffeId | undefined;
  /** Undefined if no workload is known at the address. */
  readonly workload: Workload | undefined;
  /** `''` if unknown. */
  readonly namespace: string;
  /** What the client asked for: CONNECT authority, or `ip:port` of a plain listener. */
  readonly authority: string;
  /** Exactly one of service and target is set. */
  readonly service: Service | undefined;
  readonly target: Workload | undefined;
  /** Service port; for a workload its own port. */
  readonly servicePort: number;
  /** The original destination address, for policies; that of the first VIP for a hostname authority. */
  readonly destination: IpAddress;
}
