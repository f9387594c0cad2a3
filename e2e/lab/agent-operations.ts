// What an agent does in its namespace, whatever way it is asked (agent-main.ts, agent-server-main.ts): ordinary calls,
// connections that are held open, steady load. Nothing outlives the process.

import { createSocket } from 'node:dgram';
import { lookup } from 'node:dns/promises';
import { request } from 'node:http';
import { connect, type Socket } from 'node:net';
import type {
  AgentCall,
  AgentOperations,
  AgentReply,
  ConnectionState,
  GrpcAnswer,
  GrpcRequest,
  HttpAnswer,
  HttpOutcome,
  HttpRequest,
  UdpRequest,
} from './agent-protocol.ts';
import { Load } from './load.ts';

type Handlers = {
  readonly [K in keyof AgentOperations]: (
    argument: Parameters<AgentOperations[K]>[0],
  ) => ReturnType<AgentOperations[K]> | Promise<ReturnType<AgentOperations[K]>>;
};

/** A connection held open, with its incoming text. */
class HeldConnection {
  readonly socket: Socket;
  #text = '';
  #state: ConnectionState = { open: true };
  #onChange: (() => void)[] = [];

  constructor(socket: Socket) {
    this.socket = socket;
    socket.setEncoding('utf8');
    socket.on('data', (chunk: string) => {
      this.#text += chunk;
      this.#changed();
    });
    socket.on('end', () => this.#end('end'));
    socket.on('error', (error: NodeJS.ErrnoException) => this.#end(error.code ?? error.message));
    socket.on('close', () => this.#end('close'));
  }

  get state(): ConnectionState {
    return this.#state;
  }

  /** Sends a line and returns the next line that comes back. */
  async exchange(text: string): Promise<string> {
    this.socket.write(`${text}\n`);
    await this.#until(() => this.#text.includes('\n') || !this.#state.open, 10_000);
    const end = this.#text.indexOf('\n');
    if (end < 0)
      throw Object.assign(new Error('Connection closed'), { code: this.#state.reason ?? 'ETIMEDOUT' });
    const line = this.#text.slice(0, end);
    this.#text = this.#text.slice(end + 1);
    return line;
  }

  async awaitClose(timeoutMs: number): Promise<ConnectionState> {
    await this.#until(() => !this.#state.open, timeoutMs);
    return this.#state;
  }

  async #until(holds: () => boolean, timeoutMs: number): Promise<void> {
    if (holds()) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, timeoutMs);
      this.#onChange.push(() => {
        if (!holds()) return;
        clearTimeout(timer);
        resolve();
      });
    });
  }

  #end(reason: string): void {
    if (this.#state.open) this.#state = { open: false, reason };
    this.#changed();
  }

  #changed(): void {
    for (const wake of this.#onChange) wake();
  }
}

const held = new Map<string, HeldConnection>();
const loads = new Map<string, Load>();

function demand<T>(map: Map<string, T>, id: string): T {
  const value = map.get(id);
  if (value === undefined) throw new Error(`Nothing is open by the name "${id}"`);
  return value;
}

/** One request on a connection of its own. */
function http(options: HttpRequest): Promise<HttpAnswer> {
  return new Promise((resolve, reject) => {
    const { host, port, path, method = 'GET', headers = {}, family, body, timeoutMs = 10_000 } = options;
    const signal = AbortSignal.timeout(timeoutMs);
    const call = request(
      { host, port, path, method, headers, agent: false, signal, ...(family && { family }) },
      (response) => {
        let text = '';
        response.setEncoding('utf8');
        response.on('data', (chunk: string) => {
          text += chunk;
        });
        const received = Object.entries(response.headers).map(([name, value]) => [name, String(value)]);
        response.on('end', () =>
          resolve({ status: response.statusCode ?? 0, headers: Object.fromEntries(received), body: text }),
        );
        response.on('error', reject);
      },
    );
    call.on('error', reject);
    call.end(body);
  });
}

/** One unary call with an empty message, on a connection of its own. */
async function grpc({ host, port, path, timeoutMs = 10_000 }: GrpcRequest): Promise<GrpcAnswer> {
  const { Client, credentials } = await import('@grpc/grpc-js');
  const client = new Client(`${host}:${port}`, credentials.createInsecure());
  const asBytes = (bytes: Buffer): Buffer => bytes;
  return await new Promise<GrpcAnswer>((resolve) => {
    const deadline = Date.now() + timeoutMs;
    client.makeUnaryRequest(path, asBytes, asBytes, Buffer.alloc(0), { deadline }, (error, answer) =>
      resolve({ code: error?.code ?? 0, text: error?.details ?? String(answer) }),
    );
  }).finally(() => client.close());
}

/** One after the other, each on a connection of its own; a failure is an outcome like others. */
async function httpOutcomes({
  count,
  ...request
}: HttpRequest & { readonly count: number }): Promise<readonly HttpOutcome[]> {
  const outcomes: HttpOutcome[] = [];
  for (let index = 0; index < count; index++) {
    const outcome = http(request).catch((error: NodeJS.ErrnoException) => ({ error: codeOf(error) }));
    outcomes.push(await outcome);
  }
  return outcomes;
}

function codeOf(error: NodeJS.ErrnoException): string {
  return error.name === 'AbortError' || error.name === 'TimeoutError'
    ? 'ETIMEDOUT'
    : (error.code ?? error.message);
}

/** Sends one datagram and returns the first that comes back. */
function udp({ host, port, text, family = 4, timeoutMs = 5_000 }: UdpRequest): Promise<string> {
  return new Promise<string>((resolve, reject) => {
    const socket = createSocket(family === 4 ? 'udp4' : 'udp6');
    const late = Object.assign(new Error('No datagram came back'), { code: 'ETIMEDOUT' });
    const end = (settle: () => void): void => {
      clearTimeout(timer);
      socket.close();
      settle();
    };
    const timer = setTimeout(() => end(() => reject(late)), timeoutMs);
    socket.once('message', (message) => end(() => resolve(message.toString())));
    socket.once('error', (error) => end(() => reject(error)));
    socket.send(text, port, host);
  });
}

const handlers: Handlers = {
  http,
  httpOutcomes,
  grpc,
  udp,
  resolve: async (name) => (await lookup(name, { all: true })).map((entry) => entry.address),
  open: ({ id, host, port, family }) =>
    new Promise((resolve, reject) => {
      const socket = connect({ host, port, timeout: 10_000, ...(family && { family }) });
      socket.once('error', reject);
      socket.once('timeout', () =>
        socket.destroy(Object.assign(new Error('Connect timed out'), { code: 'ETIMEDOUT' })),
      );
      socket.once('connect', () => {
        socket.setTimeout(0);
        socket.removeListener('error', reject);
        held.set(id, new HeldConnection(socket));
        resolve({ localAddress: socket.localAddress ?? '' });
      });
    }),
  exchange: ({ id, text }) => demand(held, id).exchange(text),
  state: (id) => demand(held, id).state,
  awaitClose: ({ id, timeoutMs }) => demand(held, id).awaitClose(timeoutMs),
  close: (id) => {
    demand(held, id).socket.destroy();
    held.delete(id);
    return null;
  },
  load: (argument) => new Load(argument).report(),
  startLoad: (argument) => {
    loads.set(argument.id, new Load(argument));
    return null;
  },
  loadProgress: (id) => demand(loads, id).progress(),
  markLoad: (id) => {
    demand(loads, id).mark();
    return null;
  },
  stopLoad: (id) => {
    const load = demand(loads, id);
    loads.delete(id);
    load.stop();
    return load.report();
  },
};

/** What became of a call; never rejects. */
export async function answer(call: AgentCall): Promise<AgentReply> {
  try {
    const handler = handlers[call.operation] as (argument: unknown) => unknown;
    return { sequence: call.sequence, result: await handler(call.argument) };
  } catch (caught) {
    const error = caught as NodeJS.ErrnoException;
    return { sequence: call.sequence, error: { code: error.code ?? error.name, message: error.message } };
  }
}
