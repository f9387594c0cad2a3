// The fixed port of a waypoint (Istio's number, so that tools and network policies keep working). Admin, metrics and
// readiness have settings of their own.

/** HBONE: tunnels from the nodes of clients. */
export const hbonePort = 15_008;
