// Settings of the whole mesh, from the one MeshConfig object; defaults apply where there is none.

export interface MeshConfig {
  readonly trustDomain: string;
  /** Mode of pods that no PeerAuthentication selects. */
  readonly mtls: 'strict' | 'permissive';
  /** What an enrolled pod may do with a destination no service or workload claims. */
  readonly unknownDestinations: 'allow' | 'deny';
  readonly accessLog: 'all' | 'failures' | 'off';
  /** `kernel`: what is authorised between two pods of one node needs no proxy; `proxy`: everything goes through it. */
  readonly sameNode: 'kernel' | 'proxy';
  /** Spans of requests that waypoints export; absent: none, and trace headers pass as they came. */
  readonly tracing?: TracingConfig;
}

export interface TracingConfig {
  /** Base URL of an OTLP/HTTP collector: spans go to `<endpoint>/v1/traces`. */
  readonly endpoint: string;
  /** Share of the requests without a decision of their own that are sampled; 0 to 100. */
  readonly samplingPercent: number;
}

export const defaultMeshConfig: MeshConfig = {
  trustDomain: 'cluster.local',
  mtls: 'permissive',
  unknownDestinations: 'allow',
  accessLog: 'all',
  sameNode: 'proxy',
};
