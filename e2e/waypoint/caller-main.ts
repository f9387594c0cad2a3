// A client inside a pod, driven over Node's channel: sends batches of requests as an ordinary program does, on kept
// connections or on one each, and tells every answer. See calls.ts for the other end.

import { Agent, request } from 'node:http';
import { Client, credentials } from '@grpc/grpc-js';

/** One request of a batch. */
export interface Call {
  /** A name or an address, resolved inside the pod. */
  readonly host: string;
  readonly port: number;
  readonly path: string;
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly protocol?: 'http' | 'grpc';
}

export interface Batch {
  readonly sequence: number;
  readonly calls: readonly Call[];
  /** Each call is made so often. */
  readonly times: number;
  readonly concurrency: number;
  readonly connections: 'kept' | 'new';
}

export interface Answer {
  /** 0 when there was none: then `error` says why. Of gRPC 200, with the gRPC status as header. */
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  readonly error?: string;
}

export interface BatchAnswers {
  readonly sequence: number;
  /** By call, in the order of the batch. */
  readonly answers: readonly (readonly Answer[])[];
}

const limitMs = 20_000;

function failed(error: NodeJS.ErrnoException): Answer {
  return { status: 0, headers: {}, body: '', error: error.code ?? error.message };
}

function callHttp(
  { host, port, path, method = 'GET', headers = {} }: Call,
  agent: Agent | false,
): Promise<Answer> {
  return new Promise((resolve) => {
    const signal = AbortSignal.timeout(limitMs);
    const outgoing = request({ host, port, path, method, headers, agent, signal }, (response) => {
      let body = '';
      response.setEncoding('utf8');
      response.on('data', (text: string) => (body += text));
      const received = Object.entries(response.headers).map(([name, value]) => [name, String(value)]);
      const status = response.statusCode ?? 0;
      response.on('end', () => resolve({ status, headers: Object.fromEntries(received), body }));
      response.on('error', (error) => resolve(failed(error)));
    });
    outgoing.on('error', (error) => resolve(failed(error)));
    outgoing.end();
  });
}

const asBytes = (bytes: Buffer): Buffer => bytes;

/** With pick_first and its own pool, so that a channel is a connection. */
function openChannel({ host, port }: Call): Client {
  return new Client(`${host}:${port}`, credentials.createInsecure(), { 'grpc.use_local_subchannel_pool': 1 });
}

function callGrpc(channel: Client, { path }: Call): Promise<Answer> {
  return new Promise((resolve) => {
    const deadline = Date.now() + limitMs;
    channel.makeUnaryRequest(path, asBytes, asBytes, Buffer.alloc(0), { deadline }, (error, message) => {
      const headers = { 'grpc-status': String(error?.code ?? 0) };
      if (error === null) resolve({ status: 200, headers, body: String(message) });
      else resolve({ status: 200, headers, body: '', error: error.details });
    });
  });
}

/** Makes the calls of one batch on what it opens, and closes it. */
class Batched {
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 8 });
  readonly #channels = new Map<string, Client>();
  readonly #kept: boolean;

  constructor(kept: boolean) {
    this.#kept = kept;
  }

  async call(call: Call): Promise<Answer> {
    if (call.protocol !== 'grpc') return await callHttp(call, this.#kept && this.#agent);
    if (this.#kept) return await callGrpc(this.#channel(call), call);
    const channel = openChannel(call);
    return await callGrpc(channel, call).finally(() => channel.close());
  }

  close(): void {
    this.#agent.destroy();
    for (const channel of this.#channels.values()) channel.close();
  }

  #channel(call: Call): Client {
    const key = `${call.host}:${call.port}`;
    const channel = this.#channels.get(key) ?? openChannel(call);
    this.#channels.set(key, channel);
    return channel;
  }
}

/** Makes the calls of a batch; a failure is an answer like others. */
export async function runBatch({
  sequence,
  calls,
  times,
  concurrency,
  connections,
}: Batch): Promise<BatchAnswers> {
  const answers: Answer[][] = calls.map(() => []);
  const batched = new Batched(connections === 'kept');
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < calls.length * times) {
      const index = next++ % calls.length;
      answers[index]?.push(await batched.call(calls[index] as Call));
    }
  };
  await Promise.all(Array.from({ length: concurrency }, worker));
  batched.close();
  return { sequence, answers };
}

if (import.meta.main) {
  process.on('message', (batch: Batch) => void runBatch(batch).then((answers) => process.send?.(answers)));
  process.on('disconnect', () => process.exit(0));
}
