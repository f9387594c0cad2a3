// Programs in a pod that know nothing of the mesh, and a waypoint between them and the application: curl, nghttp2's
// h2load, WebSocket's handshake, TCP. The same with more clients, but without tunnels, is in real-clients.test.ts.

import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { skipKernelTests, skipReason } from '../../bpf/testing/kernel-suite.ts';
import { type EchoMesh, openEchoMesh } from './echo-mesh.ts';

const timeout = 60_000;

describe.skipIf(skipKernelTests)(`clients in a pod${skipReason}`, () => {
  let echo: EchoMesh;
  let started = 0;

  beforeAll(async () => {
    echo = await openEchoMesh('wayclnt');
  }, 120_000);

  afterAll(async () => {
    await echo?.[Symbol.asyncDispose]();
  });

  /** Its output, when it has ended. */
  async function run(...argv: readonly string[]): Promise<string> {
    const { lab } = echo.mesh;
    const program = lab.spawn(echo.mesh.pod('client').host, { name: `${argv[0]}-${++started}`, argv });
    if (!program.ended.aborted)
      await new Promise((resolve) => program.ended.addEventListener('abort', resolve));
    return program.log.text();
  }

  test('curl uploads 4 MB in each version of HTTP', { timeout }, async () => {
    const file = join(echo.mesh.lab.directory, 'upload');
    const size = 4 * 1024 * 1024;
    writeFileSync(file, 'x'.repeat(size));
    for (const version of ['--http1.0', '--http1.1', '--http2-prior-knowledge']) {
      const upload = ['-X', 'POST', '--data-binary', `@${file}`, '-w', '\n%{http_code} %{size_upload}'];
      const quiet = ['-sS', '--max-time', '30', '-o', '/dev/null'];
      const output = await run('curl', version, ...quiet, ...upload, 'http://echo.shop/upload');
      expect([version, output.trim()]).toEqual([version, `200 ${size}`]);
    }
  });

  test.skipIf(!installed('h2load'))(
    'h2load (nghttp2-client): 3,000 requests of each version, none fails',
    { timeout },
    async () => {
      for (const flags of [['-m', '16'], ['--h1']]) {
        const output = await run('h2load', '-n', '3000', '-c', '8', ...flags, 'http://echo.shop/load');
        expect(output).toContain('3000 succeeded, 0 failed, 0 errored, 0 timeout');
        expect(output).toContain('status codes: 3000 2xx');
      }
    },
  );

  test('a WebSocket is opened', { timeout }, async () => {
    const { agent } = echo.mesh.pod('client');
    await agent.call('open', { id: 'ws', host: 'echo', port: 80 });
    const handshake = [
      'GET /socket HTTP/1.1',
      'Host: echo',
      'Connection: Upgrade',
      'Upgrade: websocket',
      'Sec-WebSocket-Version: 13',
      'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
      '\r',
    ];
    const line = await agent.call('exchange', { id: 'ws', text: handshake.join('\r\n') });
    expect(line).toBe('HTTP/1.1 101 Switching Protocols\r');
    await agent.call('close', 'ws');
  });

  test('where the server speaks first, and nobody said which protocol it is, it is heard', {
    timeout,
  }, async () => {
    const { agent } = echo.mesh.pod('client');
    await agent.call('open', { id: 'tcp', host: 'echo-v1', port: 9090 });
    expect(await agent.call('exchange', { id: 'tcp', text: 'one' })).toBe('echo-v1');
    expect(await agent.call('exchange', { id: 'tcp', text: 'two' })).toBe('one');
    await agent.call('close', 'tcp');
  });
});

function installed(program: string): boolean {
  try {
    execFileSync(program, ['--version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}
