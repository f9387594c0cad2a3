// The errors of the clusters that end to end tests run on.

export type ClusterErrorCode =
  /** This machine lacks something that the backend takes. */
  | 'unsupported'
  /** A command of the backend failed. */
  | 'command'
  /** Something did not become ready in its time. */
  | 'timeout'
  /** A node's name that the cluster does not have. */
  | 'no-such-node';

export class ClusterError extends Error {
  readonly code: ClusterErrorCode;

  constructor(code: ClusterErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'ClusterError';
    this.code = code;
  }
}
