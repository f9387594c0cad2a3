// What ends a command: wrong use, or something that could not be done. The message is for the user and says what to do.

export type CliErrorCode = 'usage' | 'unreachable' | 'failed';

export class CliError extends Error {
  readonly code: CliErrorCode;

  constructor(code: CliErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'CliError';
    this.code = code;
  }
}

/** EX_USAGE of sysexits.h for wrong use, 1 for everything else. */
export function exitStatus(code: CliErrorCode): number {
  return code === 'usage' ? 64 : 1;
}
