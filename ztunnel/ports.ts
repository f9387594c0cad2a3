// The fixed ports of the node tunnel (Istio's numbers, so that tools and network policies keep working).

export const ports = {
  /** Admin, loopback of the node only. */
  admin: 15000,
  /** In each pod: outbound capture. */
  outbound: 15001,
  /** In each pod: inbound plaintext capture. */
  plaintext: 15006,
  /** In each pod: HBONE, inbound mTLS. */
  hbone: 15008,
  /** On the node: Prometheus. */
  metrics: 15020,
  /** On the node: readiness. */
  readiness: 15021,
  /** In each pod: DNS, UDP and TCP. */
  dns: 15053,
} as const;

/** A connection to one of these can only be a loop or an attack: they are never an application's. */
export function isMeshPort(port: number): boolean {
  return port === ports.outbound || port === ports.plaintext || port === ports.hbone;
}
