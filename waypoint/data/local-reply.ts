// Answers that a waypoint makes itself: one clear status, one flag for the log, a short text for whoever looks. The
// text says what happened and nothing about the mesh; the details go to the log only.

import type { Header } from '../../mesh/h2/header.ts';
import { encodeGrpcMessage, grpcStatusOf } from './grpc.ts';
import type { ResponseFlag } from './request-record.ts';

export interface LocalReply {
  readonly status: number;
  readonly flag: ResponseFlag;
  /** For the log. */
  readonly details: string;
  /** For the client; default by the flag. */
  readonly text?: string;
  /** For a gRPC request; default by the status. */
  readonly grpcStatus?: number | undefined;
  readonly headers?: readonly Header[];
}

const textOf: Readonly<Partial<Record<ResponseFlag, string>>> = {
  UF: 'no connection to the service',
  UH: 'no healthy endpoint of the service',
  UO: 'the service is at its limit',
  UT: 'the service did not answer in time',
  UC: 'the service closed its connection',
  UR: 'the service gave up the request',
  UPE: 'the service broke the protocol',
  URX: 'the service failed several times',
  NR: 'no route for this request',
  NC: 'the route has no usable backend',
  RL: 'too many requests',
  UAEX: 'access denied',
  FI: 'injected fault',
  LR: 'the request was given up',
};

const deadlineExceeded = 4;
const resourceExhausted = 8;

export interface FormattedReply {
  readonly headers: Header[];
  readonly body: string;
}

/** @param request.bodiless the answer to HEAD */
export function formatLocalReply(
  reply: LocalReply,
  request: { readonly grpc: boolean; readonly bodiless: boolean },
): FormattedReply {
  const text = reply.text ?? textOf[reply.flag] ?? '';
  const more = reply.headers ?? [];
  if (request.grpc) {
    const status = reply.grpcStatus ?? grpcStatusFor(reply);
    const headers: Header[] = [
      [':status', '200'],
      ['content-type', 'application/grpc'],
      ['grpc-status', String(status)],
    ];
    if (text !== '') headers.push(['grpc-message', encodeGrpcMessage(text)]);
    headers.push(...more);
    return { headers, body: '' };
  }
  const empty = text === '' || reply.status === 204 || reply.status === 304;
  const body = empty ? '' : `${text}\n`;
  const headers: Header[] = [[':status', String(reply.status)]];
  if (!empty) headers.push(['content-type', 'text/plain']);
  if (reply.status !== 204 && reply.status !== 304)
    headers.push(['content-length', String(Buffer.byteLength(body))]);
  headers.push(...more);
  return { headers, body: request.bodiless ? '' : body };
}

function grpcStatusFor({ flag, status }: LocalReply): number {
  if (flag === 'UT') return deadlineExceeded;
  if (flag === 'RL' || flag === 'UO') return resourceExhausted;
  return grpcStatusOf(status);
}
