// Why a dial failed: what it means for another attempt, for the endpoint's health and for the response flag of the
// connection. Pure.

import { IoError } from '../mesh/io/io-error.ts';
import { ECONNREFUSED } from '../mesh/io/libc.ts';
import type { HboneError, HboneErrorCode } from '../mesh/hbone/hbone-error.ts';
import type { ResponseFlag } from './connection-info.ts';

export interface DialError {
  readonly message: string;
  readonly kind: 'connect' | 'tls' | 'identity' | 'tunnel' | 'denied';
  /** Another endpoint may be tried: no byte of the application was sent. */
  readonly retryable: boolean;
  /** A tunnel from the pool broke under the request: says nothing about the endpoint, a fresh tunnel may work. */
  readonly stale: boolean;
  /** The tunnel works, and the other side answered CONNECT with an error: a waypoint is not to blame for what it says. */
  readonly answered: boolean;
  /** HTTP status of that answer; 0 without one. */
  readonly status: number;
  /** Nobody listens for tunnels where the workload is: its node tunnel is away, perhaps about to start again. */
  readonly away: boolean;
  /** The destination takes connections through its waypoint only, of which this node may not have heard yet. */
  readonly waypointRequired: boolean;
}

/** The destination itself could not be dialled, or not even that could be tried. */
export function connectError(message: string, options: { readonly retryable: boolean }): DialError {
  const { retryable } = options;
  return {
    message,
    kind: 'connect',
    retryable,
    stale: false,
    answered: false,
    status: 0,
    away: false,
    waypointRequired: false,
  };
}

/** @param options.reused the tunnel came from the pool */
export function dialErrorOf(error: HboneError, { reused }: { readonly reused: boolean }): DialError {
  const { message, retryable, code, status, waypointRequired, cause } = error;
  return {
    message,
    retryable,
    status,
    waypointRequired,
    kind: kindOf(code),
    away: code === 'connect-failed' && cause instanceof IoError && cause.errno === ECONNREFUSED,
    stale: reused && (code === 'tunnel-lost' || code === 'tunnel-full'),
    answered: code === 'denied' || code === 'refused',
  };
}

/** The flag of a connection that this failure ended (WIRE 7). */
export function flagOf({ kind }: DialError): ResponseFlag {
  switch (kind) {
    case 'denied':
      return 'DENY';
    case 'tls':
      return 'TLS_FAILURE';
    case 'identity':
      return 'IDENTITY_ERROR';
    case 'tunnel':
      return 'H2_HANDSHAKE_FAILURE';
    case 'connect':
      return 'CONNECT';
  }
}

function kindOf(code: HboneErrorCode): DialError['kind'] {
  switch (code) {
    case 'denied':
      return 'denied';
    case 'tls-failed':
      return 'tls';
    case 'identity-rejected':
      return 'identity';
    // `refused`: the tunnel works, the destination node could not make the connection to the application.
    case 'connect-failed':
    case 'refused':
      return 'connect';
    case 'tunnel-lost':
    case 'tunnel-full':
    case 'cancelled':
      return 'tunnel';
  }
}
