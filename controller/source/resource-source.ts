// What every source of resources tells its owner, whether it reads a directory or a cluster.

import type { Resources } from '../resources/resources.ts';
import type { Problem } from './problem.ts';

export interface ResourcesHandler {
  /** Called by start() before it resolves, then after every change. Must not throw. */
  onResources(resources: Resources, problems: readonly Problem[]): void;
}

export interface ResourceSource {
  /** Calls the handler with everything there is before it resolves, then with every change. */
  start(): Promise<void>;
  /** No call of the handler afterwards. Idempotent. */
  close(): Promise<void>;
}
