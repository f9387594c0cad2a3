// Where the CA keeps its state: a file of one controller (ca-state-file.ts) or a Secret that replicas share
// (ca-state-secret.ts).

import type { CaState } from './ca-state.ts';
import type { LoadedState } from './ca-state-file.ts';

export interface CaStateStore {
  /** For logs and messages. */
  readonly place: string;
  /** Undefined if there is none yet. Throws CaError `state-file` or `state-corrupt`. */
  load(): Promise<LoadedState | undefined>;
  /** The first state. Throws CaError `state-conflict` if another replica was quicker. */
  create(state: CaState): Promise<LoadedState>;
  /** Throws CaError `state-conflict` if the state is not what was loaded or saved last; load again then. */
  save(state: CaState): Promise<LoadedState>;
}
