// The Unix socket that the CNI plugin (cni/shim.c) comes to: framing and bounds. Who may connect is who may enter the node
// directory: root. What is decided about a request is the handler's. On the main thread.

import { chmodSync, mkdirSync, renameSync, rmSync, statSync } from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import type { Clock } from '../mesh/runtime/clock.ts';
import type { Logger } from '../mesh/runtime/logger.ts';
import { CniError } from './cni-error.ts';
import { type CniRequest, readCniRequest } from './cni-request.ts';

export interface CniServerOptions {
  /** The node directory; made if it is not there. */
  readonly directory: string;
  /** Resolves when the pod may start. @throws CniError */
  readonly handle: (request: CniRequest) => Promise<void>;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** More than a node has pods; what comes beyond is closed without an answer, and asks again. */
const maxConnections = 1_024;
/** As the plugin's own bound. */
const maxRequestBytes = 1024 * 1024 + 64 * 1024;
/** For the whole request to arrive. */
const requestMs = 5_000;

export class CniServer {
  #server: net.Server;
  #sockets = new Set<net.Socket>();

  private constructor(server: net.Server) {
    this.#server = server;
  }

  /** Takes the place of whoever listens there. @throws when the directory or the socket can not be made */
  static async open(options: CniServerOptions): Promise<CniServer> {
    const { directory, logger } = options;
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    keepToRoot(directory);
    const server = net.createServer({ allowHalfOpen: true });
    const opened = new CniServer(server);
    server.maxConnections = maxConnections;
    server.on('connection', (socket) => opened.#serve(socket, options));
    // Its own name, so that closing it never removes the socket of the process that came after.
    const own = join(directory, `cni.sock.${process.pid}`);
    rmSync(own, { force: true });
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(own, resolve);
    });
    server.on('error', (err) => logger.error({ err }, 'CNI socket failed'));
    chmodSync(own, 0o600);
    renameSync(own, join(directory, 'cni.sock'));
    return opened;
  }

  /** Whoever waits for an answer gets none, and asks the next process. */
  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #serve(socket: net.Socket, { handle, clock, logger }: CniServerOptions): void {
    const chunks: Buffer[] = [];
    let length = 0;
    this.#sockets.add(socket);
    const tooSlow = clock.after(requestMs, () => socket.destroy(), { unref: true });
    socket.once('close', () => {
      tooSlow.cancel();
      this.#sockets.delete(socket);
    });
    socket.on('error', (err) => logger.debug({ err }, 'CNI connection failed'));
    socket.on('data', (chunk: Buffer) => {
      length += chunk.length;
      if (length > maxRequestBytes) socket.destroy();
      else chunks.push(chunk);
    });
    socket.once('end', () => {
      tooSlow.cancel();
      void answer(Buffer.concat(chunks), { handle, logger }).then((text) => socket.end(text));
    });
  }
}

/** The whole answer, in the plugin's framing. Never rejects. */
async function answer(
  message: Buffer,
  { handle, logger }: Pick<CniServerOptions, 'handle' | 'logger'>,
): Promise<string> {
  try {
    await handle(readCniRequest(message));
    return '+';
  } catch (error) {
    if (error instanceof CniError) return `-${error.toJson()}`;
    logger.error({ err: error }, 'CNI request failed');
    const message = error instanceof Error ? error.message : String(error);
    return `-${new CniError('not-captured', message).toJson()}`;
  }
}

/** The kubelet makes a directory of a volume for everybody to enter. */
function keepToRoot(directory: string): void {
  const { uid } = statSync(directory);
  if (uid !== process.geteuid?.())
    throw new Error(`Refusing "${directory}" for the CNI socket: it belongs to user ${uid}`);
  chmodSync(directory, 0o700);
}
