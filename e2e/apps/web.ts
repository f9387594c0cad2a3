// The demo's web front, an ordinary program that knows nothing of the mesh: every page it serves on 8080 is made from
// one call to the API by its Service name.

import { createServer, get } from 'node:http';
import { parseArgs } from 'node:util';

const { values } = parseArgs({
  options: { pod: { type: 'string', default: 'web' }, api: { type: 'string', default: 'http://api:8080/' } },
});

const server = createServer((_request, response) => {
  const call = get(values.api, { agent: false, timeout: 5000 }, (answer) => {
    let body = '';
    answer.setEncoding('utf8');
    answer.on('data', (chunk: string) => {
      body += chunk;
    });
    answer.on('end', () => response.end(`${values.pod} shows what the API said: ${body}\n`));
  });
  call.on('timeout', () => call.destroy(new Error('The API did not answer within 5 s')));
  call.on('error', (error) => {
    response.statusCode = 502;
    response.end(`${values.pod} could not reach the API: ${error.message}\n`);
  });
});

server.listen({ port: 8080, host: '::' }, () => console.log(`${values.pod} listening`));
process.on('SIGTERM', () => process.exit(0));
