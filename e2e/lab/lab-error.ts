// The one error of the lab; its code says which part failed.

export type LabErrorCode = 'busy' | 'command' | 'process' | 'timeout' | 'capture' | 'agent';

export class LabError extends Error {
  readonly code: LabErrorCode;

  constructor(code: LabErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'LabError';
    this.code = code;
  }
}
