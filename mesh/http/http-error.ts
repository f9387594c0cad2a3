// Why a message of HTTP/1.1 is refused. Refusals are values: the connection answers or closes, nothing is thrown.

export interface HttpFault {
  /** Status of the answer to a request; of a response it is only a name: 431 and 502 mean a head too large, a bad one. */
  readonly status: number;
  /** For the log, never for the peer; without what the peer sent. */
  readonly reason: string;
}

export function fault(status: number, reason: string): HttpFault {
  return { status, reason };
}
