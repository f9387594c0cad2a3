// The application behind the waypoint in the tests of this folder; knows nothing of the mesh. Tells what it received:
// HTTP on 8080 (a JSON object, see EchoAnswer), gRPC on 7070 (any method, one message of the same JSON), WebSocket on any
// path of 8080 (sends back what it gets), TCP on 9090 (the pod's name on a line, then what it gets).

import { createServer as createHttpServer } from 'node:http';
import { createServer as createHttp2Server, type ServerHttp2Stream } from 'node:http2';
import { createServer, type Server } from 'node:net';
import { parseArgs } from 'node:util';
import { WebSocketServer } from 'ws';

export interface EchoAnswer {
  readonly pod: string;
  readonly port: number;
  readonly method: string;
  readonly path: string;
  /** Names in lower case; each line's value by itself, in order. */
  readonly headers: Readonly<Record<string, readonly string[]>>;
  readonly body: string;
}

const { values } = parseArgs({ options: { pod: { type: 'string', default: 'echo' } } });
const { pod } = values;
const httpPort = 8080;
const grpcPort = 7070;
const tcpPort = 9090;

function grouped(raw: readonly string[]): Record<string, string[]> {
  const headers: Record<string, string[]> = {};
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const name = (raw[i] as string).toLowerCase();
    headers[name] = [...(headers[name] ?? []), raw[i + 1] as string];
  }
  return headers;
}

const http = createHttpServer((request, response) => {
  const parts: Buffer[] = [];
  request.on('data', (part: Buffer) => parts.push(part));
  request.on('end', () => {
    const answer: EchoAnswer = {
      pod,
      port: httpPort,
      method: request.method ?? '',
      path: request.url ?? '',
      headers: grouped(request.rawHeaders),
      body: Buffer.concat(parts).toString(),
    };
    const text = JSON.stringify(answer);
    response.writeHead(200, {
      'content-type': 'application/json',
      'content-length': Buffer.byteLength(text),
    });
    response.end(text);
  });
});
http.keepAliveTimeout = 60_000;
new WebSocketServer({ server: http }).on('connection', (socket) => {
  socket.on('message', (data, binary) => socket.send(data, { binary }));
  socket.on('error', () => socket.terminate());
});

/** A gRPC server needs no more than this to answer with one message. */
const grpc = createHttp2Server();
grpc.on('stream', (stream: ServerHttp2Stream, incoming) => {
  stream.on('error', () => stream.destroy());
  stream.resume();
  const headers = Object.fromEntries(
    Object.entries(incoming).map(([name, value]) => [name, [String(value)]]),
  );
  const answer: EchoAnswer = {
    pod,
    port: grpcPort,
    method: String(incoming[':method']),
    path: String(incoming[':path']),
    headers,
    body: '',
  };
  const text = Buffer.from(JSON.stringify(answer));
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(text.length, 1);
  stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
  stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
  stream.end(Buffer.concat([prefix, text]));
});

const tcp = createServer({ allowHalfOpen: true }, (socket) => {
  socket.on('error', () => socket.destroy());
  socket.write(`${pod}\n`);
  socket.pipe(socket);
});

function listen(server: Server, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ port, host: '::' }, resolve);
  });
}

if (import.meta.main) {
  await Promise.all([listen(http, httpPort), listen(grpc, grpcPort), listen(tcp, tcpPort)]);
  console.log(`${pod} listening`);
  process.on('SIGTERM', () => process.exit(0));
}
