// How a program in a pod is asked by a test: JSON by `POST /` on the pod's own loopback, which no mesh touches and nobody
// outside the pod reaches. `GET /` is answered as soon as it runs. Ends at SIGTERM.

import { createServer } from 'node:http';

/** @param answer never rejects: failures are answers */
export function serveOnLoopback(port: number, answer: (question: unknown) => Promise<unknown>): void {
  const server = createServer((request, response) => {
    let text = '';
    request.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
    request.on('end', () => {
      if (request.method === 'GET') response.end('listening\n');
      else void answer(JSON.parse(text)).then((reply) => response.end(JSON.stringify(reply)));
    });
  });
  // An operation lasts as long as its caller says.
  server.requestTimeout = 0;
  server.listen(port, '127.0.0.1', () => console.log('listening'));
  process.on('SIGTERM', () => process.exit(0));
}
