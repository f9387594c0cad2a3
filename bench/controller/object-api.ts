// Where the benchmark writes the objects that the controller reads: a stand-in (stand-in-api.ts) or a real API server
// (real-api.ts).

import type { RawObject } from './mesh-objects.ts';

export interface ObjectApi {
  /** Content of a kubeconfig by which the controller reaches it. */
  kubeconfig(): Promise<string>;
  /** Everything that is there before the controller starts; each kind together. */
  fill(objects: readonly RawObject[]): Promise<void>;
  /** Writes a pod with another label `version`; resolves when that is stored. */
  changePod(pod: RawObject): Promise<void>;
  close(): Promise<void>;
}
