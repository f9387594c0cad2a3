// The agent's program in a pod: answers on the pod's own loopback, which no mesh touches and nobody outside the pod
// reaches. `POST /` with {operation, argument} as JSON; every answer is 200, with a result or an error in it. `GET /` is answered
// as soon as it runs.

import { createServer } from 'node:http';
import { answer } from './agent-operations.ts';
import type { AgentCall } from './agent-protocol.ts';

const port = 9500;

const server = createServer((request, response) => {
  let text = '';
  request.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
  request.on('end', () => {
    if (request.method === 'GET') {
      response.end('listening\n');
      return;
    }
    const call = JSON.parse(text) as Omit<AgentCall, 'sequence'>;
    void answer({ sequence: 0, ...call }).then((reply) => response.end(JSON.stringify(reply)));
  });
});

// An operation lasts as long as its caller says.
server.requestTimeout = 0;
server.listen(port, '127.0.0.1', () => console.log('listening'));
process.on('SIGTERM', () => process.exit(0));
