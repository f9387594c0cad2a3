// Applications of test pods inside the test's own process: ordinary sockets, made in the pod's network namespace, so
// that the kernel captures them as it would a container's. Awaiting is by events; nothing here is timed but the limit.

import { once } from 'node:events';
import net from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import type { TestPod } from '../../bpf/testing/test-network.ts';
import * as libc from '../../mesh/io/libc.ts';
import { withNetns } from '../../mesh/io/netns.ts';
import { createTcpSocket, listenTcp, startConnect } from '../../mesh/io/socket.ts';
import { familyOf } from '../../mesh/io/socket-address.ts';
import { ip } from '../../mesh/model/fixture.ts';

/** Long enough for a loaded machine; only a broken test waits for it. */
export const limitMs = 20_000;

/**
 * Connects from inside the pod. A captured connect is accepted by the proxy at once, whatever becomes of it later.
 * Throws the system's error code where the connect fails at once.
 */
export function connectFrom(pod: TestPod, host: string, port: number): net.Socket {
  const address = ip(host);
  const fd = withNetns(pod.netnsPath, () => createTcpSocket(familyOf(address)));
  const code = startConnect(fd, { address, port });
  if (code !== 0) {
    libc.close(fd);
    throw Object.assign(new Error(libc.describeErrno(code)), { errno: code });
  }
  const socket = new net.Socket({ fd, allowHalfOpen: true });
  socket.on('error', () => {});
  return socket;
}

export interface PodServer extends AsyncDisposable {
  /** Connections accepted so far, open or not. */
  readonly accepted: readonly net.Socket[];
}

/** Listens in the pod on all its IPv4 and IPv6 addresses. */
export function serve(pod: TestPod, port: number, onSocket: (socket: net.Socket) => void): PodServer {
  const accepted: net.Socket[] = [];
  const servers = [pod.ipv4, pod.ipv6].map((address) => {
    const fd = withNetns(pod.netnsPath, () => listenTcp({ address, port }));
    const server = net.createServer({ allowHalfOpen: true }, (socket) => {
      accepted.push(socket);
      socket.on('error', () => {});
      onSocket(socket);
    });
    server.listen({ fd });
    return server;
  });
  return {
    accepted,
    async [Symbol.asyncDispose]() {
      for (const socket of accepted) socket.destroy();
      await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
    },
  };
}

/** Sends back what comes, and the end. */
export function echo(socket: net.Socket): void {
  socket.pipe(socket);
}

/** How a connection ended: `end` for a FIN, else the error code. What arrives is thrown away. */
export function ending(socket: net.Socket): Promise<string> {
  return within(
    'the connection to end',
    new Promise((resolve) => {
      if (socket.destroyed) resolve(socket.errored === null ? 'close' : codeOf(socket.errored));
      socket.once('error', (error) => resolve(codeOf(error)));
      socket.once('end', () => resolve('end'));
      socket.once('close', () => resolve('close'));
      socket.resume();
    }),
  );
}

function codeOf(error: Error): string {
  return (error as NodeJS.ErrnoException).code ?? error.message;
}

/** Everything up to the peer's end. */
export async function readAll(socket: net.Socket): Promise<Buffer> {
  const chunks: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  await within('the end of the stream', once(socket, 'end'));
  return Buffer.concat(chunks);
}

/** One message there and back on an echo connection; the code of the error where it breaks. */
export async function roundTrip(socket: net.Socket, text = 'ping'): Promise<string> {
  let onData = (_chunk: Buffer): void => {};
  let onError = (_error: Error): void => {};
  let onClose = (): void => {};
  const answer = new Promise<string>((resolve) => {
    onData = (chunk) => resolve(chunk.toString());
    onError = (error) => resolve(codeOf(error));
    onClose = () => resolve('close');
    if (socket.destroyed) resolve('close');
  });
  socket.on('data', onData).on('error', onError).on('close', onClose);
  socket.write(text);
  try {
    return await within('an answer', answer);
  } finally {
    socket.off('data', onData).off('error', onError).off('close', onClose);
  }
}

/** Resolves when nothing of the connection is left. */
export async function closed(socket: net.Socket): Promise<void> {
  if (!socket.closed) await new Promise((resolve) => socket.once('close', resolve));
}

/** Rejects with what was waited for. */
export async function within<T>(what: string, promise: Promise<T>, timeoutMs = limitMs): Promise<T> {
  const settled = new AbortController();
  const limit = delay(timeoutMs, undefined, { signal: settled.signal }).then(
    () => Promise.reject(new Error(`Waited ${timeoutMs} ms for ${what}`)),
    () => new Promise<never>(() => {}),
  );
  try {
    return await Promise.race([promise, limit]);
  } finally {
    settled.abort();
  }
}

/**
 * An application whose accept queue is full: what connects to it waits in the kernel until `accept` is called; then it
 * echoes.
 */
export class FullQueue implements AsyncDisposable {
  readonly #fd: number;
  readonly #waiting: readonly net.Socket[];
  readonly #accepted: net.Socket[] = [];
  #server: net.Server | undefined;

  constructor(pod: TestPod, port: number) {
    this.#fd = withNetns(pod.netnsPath, () => listenTcp({ address: ip('0.0.0.0'), port }, { backlog: 1 }));
    // Over loopback, which is not captured; a queue of one holds two.
    this.#waiting = [1, 2].map(() => connectFrom(pod, '127.0.0.1', port));
  }

  accept(): void {
    this.#server = net.createServer((socket) => {
      this.#accepted.push(socket);
      socket.on('error', () => {});
      socket.pipe(socket);
    });
    this.#server.listen({ fd: this.#fd });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#server === undefined) this.accept();
    for (const socket of [...this.#waiting, ...this.#accepted]) socket.destroy();
    await new Promise((resolve) => this.#server?.close(resolve));
  }
}
