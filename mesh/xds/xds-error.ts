// The one error class of mesh/xds. The code is also the metric label.

export type XdsErrorCode =
  | 'ADDRESS_INVALID'
  | 'BIND_FAILED'
  | 'CERTIFICATE_INVALID'
  | 'CLOSED'
  | 'DEMAND_LIMIT'
  | 'DEMAND_UNSUPPORTED';

export class XdsError extends Error {
  readonly code: XdsErrorCode;

  constructor(code: XdsErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'XdsError';
    this.code = code;
  }
}
