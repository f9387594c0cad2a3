// The one error class of the kernel programs' area. The code is closed: it is also the metric label and the log flag.

import { describeErrno } from '../mesh/io/libc.ts';

export type BpfErrorCode =
  | 'libbpf-missing'
  | 'not-permitted'
  | 'no-cgroup2'
  | 'no-bpffs'
  | 'load-failed'
  | 'attach-failed'
  | 'map-failed'
  | 'pin-failed'
  | 'incompatible-pins'
  | 'invalid-capture'
  | 'taken-over'
  | 'closed';

export class BpfError extends Error {
  readonly code: BpfErrorCode;
  /** Linux errno, 0 if the failure was not a system call's. */
  readonly errno: number;

  constructor(
    code: BpfErrorCode,
    message: string,
    options?: { readonly errno?: number; readonly cause?: unknown },
  ) {
    super(message, options?.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'BpfError';
    this.code = code;
    this.errno = options?.errno ?? 0;
  }
}

/** For a libbpf call that returned `-errno`. `hint` names the likely cause. */
export function systemError(code: BpfErrorCode, attempted: string, errno: number, hint?: string): BpfError {
  const reason = `${attempted}: ${describeErrno(errno)}${hint === undefined ? '' : `; ${hint}`}`;
  return new BpfError(code, reason, { errno });
}
