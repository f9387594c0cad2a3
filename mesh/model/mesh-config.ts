// Settings of the whole mesh, from the one MeshConfig object; defaults apply where there is none.

export interface MeshConfig {
  readonly trustDomain: string;
  /** Mode of pods that no PeerAuthentication selects. */
  readonly mtls: 'strict' | 'permissive';
  /** What an enrolled pod may do with a destination no service or workload claims. */
  readonly unknownDestinations: 'allow' | 'deny';
  readonly accessLog: 'all' | 'failures' | 'off';
}

export const defaultMeshConfig: MeshConfig = {
  trustDomain: 'cluster.local',
  mtls: 'permissive',
  unknownDestinations: 'allow',
  accessLog: 'all',
};
