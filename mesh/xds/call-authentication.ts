// Who calls a streaming service of the controller: decided by the token before anything of the stream counts. A call that is
// refused has been ended when the answer is there.

import { type Metadata, status } from '@grpc/grpc-js';
import type { Logger } from '../runtime/logger.ts';
import { type Authenticate, type Caller, callMetadata } from './caller.ts';

/** What this needs of a call. */
export interface AuthenticatedCall {
  readonly metadata: Metadata;
  getPeer(): string;
  emit(event: 'error', error: Error): boolean;
}

/** Undefined: the call was refused. Never rejects. */
export async function authenticateCall(
  call: AuthenticatedCall,
  { authenticate, logger }: { readonly authenticate: Authenticate; readonly logger: Logger },
): Promise<Caller | undefined> {
  const metadata = callMetadata(call.metadata, call.getPeer());
  try {
    const caller = await authenticate(metadata);
    if (caller !== undefined) return caller;
    logger.warn({ peer: metadata.peer }, 'A stream without a valid token was refused');
    failCall(call, status.UNAUTHENTICATED, 'The token is missing, expired or not for this controller');
  } catch (err) {
    logger.error({ err, peer: metadata.peer }, 'Checking a token failed');
    failCall(call, status.UNAVAILABLE, 'Tokens cannot be checked at the moment');
  }
  return undefined;
}

/** Ends a call with a status that is not OK. */
export function failCall(call: Pick<AuthenticatedCall, 'emit'>, code: status, details: string): void {
  call.emit('error', Object.assign(new Error(details), { code, details }));
}
