// What the CA remembers: its roots and how far a rotation of them has come. Pure values and steps; the file is
// ca-state-file.ts. The rotation never leaves a valid certificate without a peer that trusts it:
//   stable  one root signs, one is trusted
//   prepare the old root signs, both are trusted; until all certificates that came with the old root only have run out
//   active  the new root signs, both are trusted; until all certificates that the old root signed have run out
// and then stable again with the new root alone.

import { z } from 'zod';
import { CaError } from './ca-error.ts';

export type RotationPhase = 'stable' | 'prepare' | 'active';

const root = z.strictObject({
  certificatePem: z.string(),
  privateKeyPem: z.string(),
  issuedUntil: z.number().int().nonnegative(),
});

export const caStateSchema = z.discriminatedUnion('phase', [
  z.strictObject({ version: z.literal(1), phase: z.literal('stable'), roots: z.tuple([root]) }),
  z.strictObject({
    version: z.literal(1),
    phase: z.enum(['prepare', 'active']),
    roots: z.tuple([root, root]),
    nextStepAt: z.number().int().nonnegative(),
  }),
]);

export interface RootRecord {
  readonly certificatePem: string;
  /** PKCS#8. */
  readonly privateKeyPem: string;
  /** Wall clock in ms: no certificate of this root is valid for longer. Written ahead of the certificates. */
  readonly issuedUntil: number;
}

export type CaState =
  | { readonly version: 1; readonly phase: 'stable'; readonly roots: readonly [RootRecord] }
  | {
      readonly version: 1;
      readonly phase: 'prepare' | 'active';
      /** The old one, then the new one. */
      readonly roots: readonly [RootRecord, RootRecord];
      /** Wall clock in ms from which the next step breaks nobody. */
      readonly nextStepAt: number;
    };

export interface StepOptions {
  /** Wall clock in ms. */
  readonly now: number;
  /** Take the step even though certificates in use may fail because of it, for a leaked root key. */
  readonly force?: boolean;
}

export function initialState(first: RootRecord): CaState {
  return { version: 1, phase: 'stable', roots: [first] };
}

/** Position in `roots` of the one that signs. */
export function signingIndex(state: CaState): 0 | 1 {
  return state.phase === 'active' ? 1 : 0;
}

/** stable -> prepare. */
export function prepareRotation(state: CaState, next: RootRecord): CaState {
  if (state.phase !== 'stable') {
    throw new CaError(
      'rotation-step',
      `Starting a root rotation failed: one is at the step "${state.phase}"`,
    );
  }
  const [old] = state.roots;
  return { version: 1, phase: 'prepare', roots: [old, next], nextStepAt: old.issuedUntil };
}

/** prepare -> active -> stable. */
export function advanceRotation(state: CaState, { now, force = false }: StepOptions): CaState {
  if (state.phase === 'stable') {
    throw new CaError('rotation-step', 'Advancing the root rotation failed: none was started');
  }
  const { phase, roots, nextStepAt } = state;
  if (now < nextStepAt && !force) {
    const until = new Date(nextStepAt).toISOString();
    throw new CaError(
      'rotation-too-early',
      `Advancing the root rotation from "${phase}" failed: certificates that need the old root are valid until ${until}`,
    );
  }
  const [old, next] = roots;
  return phase === 'prepare'
    ? { version: 1, phase: 'active', roots, nextStepAt: old.issuedUntil }
    : { version: 1, phase: 'stable', roots: [next] };
}

/** Notes that the signing root will have issued certificates valid until `until`. */
export function withIssuedUntil(state: CaState, until: number): CaState {
  const index = signingIndex(state);
  const roots = state.roots.map((record, at) =>
    at === index && record.issuedUntil < until ? { ...record, issuedUntil: until } : record,
  );
  return { ...state, roots } as unknown as CaState;
}
