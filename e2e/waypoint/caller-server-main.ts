// The client of caller-main.ts in a pod: takes batches as JSON by `POST /` on the pod's own loopback, which no mesh touches.
// `GET /` is answered as soon as it runs.

import { createServer } from 'node:http';
import { type Batch, runBatch } from './caller-main.ts';

const port = 9501;

const server = createServer((request, response) => {
  let text = '';
  request.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
  request.on('end', () => {
    if (request.method === 'GET') {
      response.end('listening\n');
      return;
    }
    void runBatch(JSON.parse(text) as Batch).then((answers) => response.end(JSON.stringify(answers)));
  });
});

// A batch takes as long as it takes.
server.requestTimeout = 0;
server.listen(port, '127.0.0.1', () => console.log('listening'));
process.on('SIGTERM', () => process.exit(0));
