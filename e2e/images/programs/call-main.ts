// The client of end to end tests, run in a pod by `kubectl exec`: call-main.ts URL [COUNT]. Each request has a
// connection of its own. Prints one line of JSON for each: {status, body} or {error}, the code of the failure.

import { get } from 'node:http';

interface Outcome {
  readonly status?: number | undefined;
  readonly body?: string;
  readonly error?: string;
}

const timeoutMs = 5_000;

function call(url: string): Promise<Outcome> {
  return new Promise((resolve) => {
    const request = get(url, { agent: false, timeout: timeoutMs }, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (chunk: string) => (body += chunk));
      response.on('end', () => resolve({ status: response.statusCode, body }));
      response.on('error', (error: NodeJS.ErrnoException) => resolve({ error: error.code ?? error.message }));
    });
    request.on('timeout', () => request.destroy(Object.assign(new Error(), { code: 'ETIMEDOUT' })));
    request.on('error', (error: NodeJS.ErrnoException) => resolve({ error: error.code ?? error.message }));
  });
}

const [url = '', count = '1'] = process.argv.slice(2);
for (let index = 0; index < Number(count); index += 1) console.log(JSON.stringify(await call(url)));
