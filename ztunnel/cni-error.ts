// Why a pod may not start, as the container runtime is told it: a CNI error object. Codes below 100 are of the CNI
// specification 1.1.0 ("Error"), those from 100 on are ours.

const numbers = {
  'invalid-environment': 4,
  'undecodable-request': 6,
  'invalid-configuration': 7,
  'try-again': 11,
  'not-captured': 100,
} as const;

export type CniErrorCode = keyof typeof numbers;

export class CniError extends Error {
  readonly code: CniErrorCode;

  constructor(code: CniErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'CniError';
    this.code = code;
  }

  /** For standard output of the plugin. */
  toJson(): string {
    return JSON.stringify({ cniVersion: '1.0.0', code: numbers[this.code], msg: `Weft: ${this.message}` });
  }
}
