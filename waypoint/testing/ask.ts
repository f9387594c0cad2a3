// An HTTP/1.1 request by Node's own client, for tests.

import { once } from 'node:events';
import { type IncomingMessage, request, type RequestOptions } from 'node:http';
import type { PlaneRig } from './plane-rig.ts';

export interface Answer {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  readonly trailers: IncomingMessage['trailers'];
  readonly body: Buffer;
}

/** Rejects when the answer is cut. */
export async function ask(
  rig: PlaneRig,
  port: number,
  { body, ...options }: RequestOptions & { body?: string | Buffer } = {},
): Promise<Answer> {
  const outgoing = request({ port, host: '127.0.0.1', agent: false, ...options });
  outgoing.on('error', () => {});
  outgoing.end(body);
  const answered = (async () => {
    const [message] = (await once(outgoing, 'response')) as [IncomingMessage];
    const parts: Buffer[] = [];
    for await (const part of message) parts.push(part as Buffer);
    return {
      status: message.statusCode ?? 0,
      headers: message.headers,
      trailers: message.trailers,
      body: Buffer.concat(parts),
    };
  })();
  return await rig.until('the answer', answered);
}
