// What went wrong in the demo itself, as opposed to in the mesh it shows: a step's claim did not hold, or a part did
// not start.

export type DemoErrorCode = 'claim' | 'start' | 'timeout';

export class DemoError extends Error {
  readonly code: DemoErrorCode;

  constructor(code: DemoErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'DemoError';
    this.code = code;
  }
}

/** Throws DemoError `claim` unless the claim holds. */
export function claim(holds: boolean, message: string): asserts holds {
  if (!holds) throw new DemoError('claim', message);
}
