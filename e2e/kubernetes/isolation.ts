// What main.ts hands to the test processes it starts in namespaces of their own: which programs to run and where state
// may be. A test that was not started this way must not start servers in the machine's own network.

import type { Programs } from './programs.ts';
import { RigError } from './rig-error.ts';

export interface Isolation {
  readonly programs: Programs;
  /** A folder that goes away with the run, whatever its end. */
  readonly stateRoot: string;
  /** Folder with the CRDs of Gateway API: `standard/` and `experimental/`; undefined if it could not be had. */
  readonly gatewayCrds?: string;
  /** The program of Helm; undefined for a run that asks nothing of it. */
  readonly helm?: string;
}

const variable = 'WEFT_KUBE_RUN';

export function isolationEnv(isolation: Isolation): Record<string, string> {
  return { [variable]: JSON.stringify(isolation) };
}

/** Whether this process may start servers. */
export function isIsolated(): boolean {
  return process.env[variable] !== undefined;
}

function isolation(): Isolation {
  const text = process.env[variable];
  if (text === undefined) {
    throw new RigError(
      'NOT_STARTED',
      'These tests need namespaces of their own; run them with npm run test:kube',
    );
  }
  return JSON.parse(text) as Isolation;
}

export function isolatedPrograms(): Programs {
  return isolation().programs;
}

export function stateRoot(): string {
  return isolation().stateRoot;
}

export function gatewayCrds(): string | undefined {
  return isolation().gatewayCrds;
}

export function helmProgram(): string {
  const { helm } = isolation();
  if (helm === undefined) throw new RigError('NOT_STARTED', 'This run was started without Helm');
  return helm;
}
