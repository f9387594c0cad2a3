import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { type WebSocket, WebSocketServer } from 'ws';
import { systemClock } from '../mesh/runtime/clock.ts';
import { type ClusterOptions, openCluster } from './cluster-access.ts';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'weft-access-'));
  vi.stubEnv('HOME', directory);
});
afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(directory, { recursive: true, force: true });
});

/** A kubeconfig with a context of the same name as its cluster. */
function kubeconfig(name: string, server: string, user: object = {}): string {
  const path = join(directory, name);
  const config = {
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': name,
    clusters: [{ name, cluster: { server, 'insecure-skip-tls-verify': true } }],
    users: [{ name, user }],
    contexts: [{ name, context: { cluster: name, user: name } }],
  };
  writeFileSync(path, JSON.stringify(config));
  return path;
}

function serverOf(options: ClusterOptions): string {
  using cluster = openCluster(options, systemClock);
  return cluster.client.server;
}

describe('openCluster()', () => {
  test('takes the file that is named before KUBECONFIG, and of several in that the first', () => {
    const [a, b] = [kubeconfig('a', 'https://a.example'), kubeconfig('b', 'https://b.example')];
    vi.stubEnv('KUBECONFIG', `${join(directory, 'missing')}:${a}:${b}`);
    expect(serverOf({})).toBe('https://a.example');
    expect(serverOf({ kubeconfig: b })).toBe('https://b.example');
    expect(serverOf({ context: 'b' })).toBe('https://b.example');
  });

  test.each([
    [{}, /No kubeconfig at .*\.kube\/config: name one by --kubeconfig or KUBECONFIG/],
    [{ kubeconfig: '/nowhere' }, /Cannot read the kubeconfig \/nowhere: ENOENT/],
  ])('says what is wrong with %j', (options, message) => {
    vi.stubEnv('KUBECONFIG', '');
    expect(() => serverOf(options)).toThrow(message);
  });

  test('names the contexts there are', () => {
    const options = { kubeconfig: kubeconfig('a', 'https://a.example'), context: 'c' };
    expect(() => serverOf(options)).toThrow(/No context "c" in .*; there are: a/);
  });

  test('says that a file without a cluster is none', () => {
    const path = join(directory, 'empty');
    writeFileSync(path, '{}');
    expect(() => serverOf({ kubeconfig: path })).toThrow(/no current context/);
  });

  test('reads the token of a user from the file that the kubeconfig names', async () => {
    writeFileSync(join(directory, 'token'), 'secret-token\n');
    await using server = await fakeApi();
    const path = kubeconfig('a', server.url, { tokenFile: 'token' });
    using cluster = openCluster({ kubeconfig: path }, systemClock);
    await cluster.client.request({ path: '/version' });
    expect(server.authorization()).toBe('Bearer secret-token');
  });
});

describe('readPage()', () => {
  const target = { namespace: 'weft-system', pod: 'c', port: 15014, path: '/debug/nodes' };

  async function read(onPod: (socket: WebSocket) => void): Promise<string> {
    await using server = await fakeApi(onPod);
    using cluster = openCluster({ kubeconfig: kubeconfig('a', server.url) }, systemClock);
    return await cluster.readPage(target);
  }
  const answer = (text: string) => (socket: WebSocket) => {
    sendPorts(socket);
    socket.once('message', () => socket.send(Buffer.concat([Buffer.of(0), Buffer.from(text)])));
  };

  test('gives the body of an answer that comes through the port-forward', async () => {
    expect(await read(answer('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}'))).toBe('{}');
  });

  test('says what the program answered instead', async () => {
    const text = 'HTTP/1.1 404 Not Found\r\ncontent-length: 12\r\n\r\nUnknown path';
    await expect(read(answer(text))).rejects.toThrow('answered /debug/nodes with 404: Unknown path');
  });

  test('says what the kubelet said, as that nobody listens', async () => {
    const refused = (socket: WebSocket) => {
      sendPorts(socket);
      socket.send(Buffer.concat([Buffer.of(1), Buffer.from('connection refused')]));
    };
    await expect(read(refused)).rejects.toThrow(/weft-system\/c: connection refused/);
  });

  test('ends when the way is closed', async () => {
    await expect(read((socket) => socket.close())).rejects.toThrow(/socket hang up|aborted/);
  });

  test('says which right it takes when the way is refused', async () => {
    await using server = await fakeApi();
    using cluster = openCluster({ kubeconfig: kubeconfig('a', server.url) }, systemClock);
    await expect(cluster.readPage(target)).rejects.toThrow(/403.*create pods\/portforward/);
  });
});

/** Both channels begin with the number of the port. */
function sendPorts(socket: WebSocket): void {
  for (const channel of [0, 1]) socket.send(Buffer.of(channel, 15014 & 0xff, 15014 >> 8));
}

/** @param onPod what is in the pod; undefined: a port-forward is refused */
async function fakeApi(onPod?: (socket: WebSocket) => void) {
  let last: IncomingMessage | undefined;
  const server = createServer((request, response) => {
    last = request;
    response.end('{}');
  });
  const sockets = new WebSocketServer({ noServer: true });
  server.on('upgrade', (request, socket, head) => {
    if (onPod === undefined) socket.end('HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n');
    else sockets.handleUpgrade(request, socket, head, onPod);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    authorization: () => last?.headers.authorization,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets.clients) socket.terminate();
      await new Promise((resolve) => {
        server.close(resolve);
        server.closeAllConnections();
      });
    },
  };
}
