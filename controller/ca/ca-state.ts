// What the CA remembers: its roots and how far a rotation of them has come. Pure values and steps; the file is
// ca-state-file.ts. The rotation never leaves a valid certificate without a peer that trusts it:
//   stable  one root signs, one is trusted
//   prepare the old root signs, both are trusted; until all certificates that came with the old root only have run out
//   active  the new root signs, both are trusted; until all certificates that the old root signed have run out
// and then stable again with the new root alone. An issuer that was given (given-issuer.ts) takes the same way, unless what
// is trusted does not change with it: then it just takes over.

import { z } from 'zod';
import { CaError } from './ca-error.ts';

export type RotationPhase = 'stable' | 'prepare' | 'active';

const root = z.strictObject({
  certificatePem: z.string(),
  privateKeyPem: z.string(),
  chainPem: z.string().optional(),
  anchorsPem: z.string().optional(),
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
  /** Of the key that signs: the root itself, or an intermediate that was given. */
  readonly certificatePem: string;
  /** Certificates between an intermediate and the root, the intermediate's own issuer first; absent or empty: none. */
  readonly chainPem?: string | undefined;
  /** What nodes are to trust; absent: the certificate itself. */
  readonly anchorsPem?: string | undefined;
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

/**
 * Makes a given issuer the one that signs: at once where its anchors are trusted already, else by a rotation. While another
 * rotation is under way it waits: the state comes back as it was.
 */
export function adoptIssuer(state: CaState, next: RootRecord): CaState {
  const signing = state.roots[signingIndex(state)] as RootRecord;
  if (isSameIssuer(signing, next)) return state;
  const latest = state.roots.at(-1) as RootRecord;
  if (isSameIssuer(latest, next)) return state;
  const at = state.roots.findLastIndex((record) => anchorsOf(record) === anchorsOf(next));
  if (at >= 0) {
    const roots = state.roots.map((record, index) =>
      index === at ? { ...next, issuedUntil: record.issuedUntil } : record,
    );
    return { ...state, roots } as unknown as CaState;
  }
  return state.phase === 'stable' ? prepareRotation(state, next) : state;
}

export function isSameIssuer(a: RootRecord, b: RootRecord): boolean {
  return a.certificatePem === b.certificatePem && a.chainPem === b.chainPem && anchorsOf(a) === anchorsOf(b);
}

export function anchorsOf({ anchorsPem, certificatePem }: RootRecord): string {
  return anchorsPem ?? certificatePem;
}

/** Notes that the signing root will have issued certificates valid until `until`. */
export function withIssuedUntil(state: CaState, until: number): CaState {
  const index = signingIndex(state);
  const roots = state.roots.map((record, at) =>
    at === index && record.issuedUntil < until ? { ...record, issuedUntil: until } : record,
  );
  return { ...state, roots } as unknown as CaState;
}
