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
  /** In place of a text: what somebody else wrote, an octet a character. At most 64 KiB are sent. */
  readonly content?: { readonly type: string; readonly body: string };
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
  /** An octet a character. */
  readonly body: string;
}

/** What a local reply may have for a body, octets. */
export const maxReplyBytes = 64 * 1024;

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
  const lengthless = reply.status === 204 || reply.status === 304;
  const { type, body } = lengthless ? nothing : (reply.content ?? contentOf(text));
  const headers: Header[] = [[':status', String(reply.status)]];
  if (body !== '') headers.push(['content-type', type]);
  if (!lengthless) headers.push(['content-length', String(Math.min(body.length, maxReplyBytes))]);
  headers.push(...more);
  return { headers, body: request.bodiless ? '' : body.slice(0, maxReplyBytes) };
}

const nothing = { type: 'text/plain', body: '' };

function contentOf(text: string): { readonly type: string; readonly body: string } {
  return text === '' ? nothing : { type: 'text/plain', body: `${text}\n` };
}

function grpcStatusFor({ flag, status }: LocalReply): number {
  if (flag === 'UT') return deadlineExceeded;
  if (flag === 'RL' || flag === 'UO') return resourceExhausted;
  return grpcStatusOf(status);
}
