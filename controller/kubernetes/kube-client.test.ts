import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '../../mesh/runtime/clock.ts';
import { KubeClient } from './kube-client.ts';

let directory: string;
let server: Server;
let client: KubeClient;
const requests = new Map<Socket, number>();

/** Keeps connections, and closes them when they are taken up again. */
beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'weft-kube-client-'));
  server = createServer((request, response) => {
    const seen = (requests.get(request.socket) ?? 0) + 1;
    requests.set(request.socket, seen);
    if (seen > 1) request.socket.destroy();
    else response.end('{"ok":true}');
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const kubeconfig = join(directory, 'config');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const config = {
    'current-context': 'a',
    clusters: [{ name: 'a', cluster: { server: url, 'insecure-skip-tls-verify': true } }],
    users: [{ name: 'a', user: {} }],
    contexts: [{ name: 'a', context: { cluster: 'a', user: 'a' } }],
  };
  writeFileSync(kubeconfig, JSON.stringify(config));
  client = KubeClient.fromFile(kubeconfig, { clock: systemClock });
});
afterEach(async () => {
  client.close();
  server.close();
  server.closeAllConnections();
  await once(server, 'close');
  rmSync(directory, { recursive: true, force: true });
  requests.clear();
});

describe('KubeClient', () => {
  it('asks again on a new connection when an idle one was closed while it was taken up', async () => {
    for (let i = 0; i < 3; i++) expect(await client.request({ path: '/api' })).toEqual({ ok: true });
    expect(requests.size).toBeGreaterThan(1);
  });

  it('does not say twice what would make two objects', async () => {
    expect(await client.request({ path: '/api' })).toEqual({ ok: true });
    await expect(client.request({ method: 'POST', path: '/api', body: {} })).rejects.toMatchObject({
      code: 'UNREACHABLE',
    });
  });
});
