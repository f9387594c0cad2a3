// Reads a head from a string with the production readers, in one piece.

import type { HttpFault } from '../http-error.ts';
import { RequestHeadReader } from '../request-head.ts';
import { ResponseHeadReader } from '../response-head.ts';

/** The reader with what it read, or why it refused. `head` ends in its blank line. */
export function readRequest(head: string, maxFields = 256): RequestHeadReader | HttpFault {
  const reader = new RequestHeadReader();
  const bytes = Buffer.from(head, 'latin1');
  return reader.read(bytes, { start: 0, limit: bytes.length }, { scheme: 'http', maxFields }) ?? reader;
}

export function readResponse(head: string, maxFields = 256): ResponseHeadReader | HttpFault {
  const reader = new ResponseHeadReader();
  const bytes = Buffer.from(head, 'latin1');
  return reader.read(bytes, { start: 0, limit: bytes.length }, { maxFields }) ?? reader;
}
