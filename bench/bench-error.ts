// The one error of the benchmark; its code says which part failed.

export type BenchErrorCode = 'usage' | 'compile' | 'load' | 'peer' | 'results';

export class BenchError extends Error {
  readonly code: BenchErrorCode;

  constructor(code: BenchErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'BenchError';
    this.code = code;
  }
}
