// The errors of the test rig with a real API server: what is missing on this machine, and what would not start.

export type RigErrorCode = 'PROGRAMS_MISSING' | 'BUILD_FAILED' | 'NOT_STARTED' | 'COMMAND_FAILED';

export class RigError extends Error {
  readonly code: RigErrorCode;

  constructor(code: RigErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'RigError';
    this.code = code;
  }
}
