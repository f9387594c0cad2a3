// One run of the end to end tests: what main.ts prepared for the test programs it starts, and the cluster they share.
// The program that brings the cluster up and each test file attach to it by the same record.

import type { Cluster } from './cluster.ts';
import { ClusterError } from './cluster-error.ts';
import { KindCluster, type KindClusterOptions } from './kind/kind-cluster.ts';
import { LocalCluster, type LocalClusterOptions } from './local/local-cluster.ts';

export type SessionCluster =
  | ({ readonly backend: 'local' } & LocalClusterOptions)
  | ({ readonly backend: 'kind' } & KindClusterOptions);

export interface Session {
  readonly cluster: SessionCluster;
  /** Archives that every node has from its start. */
  readonly images: readonly string[];
  /** Folder with the CRDs of Gateway API: `standard/` and `experimental/`; undefined if it could not be had. */
  readonly gatewayCrds?: string;
  /** The cluster is up already and stays up. */
  readonly held?: true;
  /** Where logs are kept of tests that failed. */
  readonly failures: string;
}

const variable = 'WEFT_E2E_SESSION';

export function sessionEnv(session: Session): Readonly<Record<string, string>> {
  return { [variable]: JSON.stringify(session) };
}

/** Throws ClusterError where no run was prepared. */
export function session(): Session {
  const text = process.env[variable];
  if (text === undefined) {
    throw new ClusterError('unsupported', 'These tests need a cluster; run them with npm run e2e');
  }
  return JSON.parse(text) as Session;
}

/** The cluster of this run, which may still have to be brought up. */
export function sessionCluster(): Cluster {
  const { cluster } = session();
  return cluster.backend === 'local' ? new LocalCluster(cluster) : new KindCluster(cluster);
}
