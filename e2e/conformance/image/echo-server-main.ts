// The server in the suite's pods: says in lines of NAME=VALUE what it was asked, over HTTP, HTTPS, gRPC and TCP. Takes
// the flags of the image it stands for: --port=N --tls=N --crt=FILE --key=FILE --grpc=N --tcp=N, each port repeatable; without --port it is 8080.

import { readFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import {
  createServer as createHttp2Server,
  type IncomingHttpHeaders,
  type ServerHttp2Stream,
} from 'node:http2';
import { createServer as createHttpsServer } from 'node:https';
import { createServer as createTcpServer, type Socket } from 'node:net';
import { hostname } from 'node:os';
import { parseArgs } from 'node:util';
import { decodeEcho, encodeEcho } from './grpc-echo.ts';

const ports = { type: 'string', multiple: true, default: [] as string[] } as const;
const { values: flags } = parseArgs({
  options: {
    port: ports,
    tls: ports,
    grpc: ports,
    tcp: ports,
    crt: { type: 'string' },
    key: { type: 'string' },
  },
});

/** Pods are named echo-v1-HASH-ID. */
const version = hostname().split('-')[1] ?? '';

type Field = readonly [name: string, value: string | number | undefined];

function lines(socket: Socket | undefined, fields: readonly Field[]): string {
  const address = socket?.remoteAddress?.replace(/^::ffff:/, '');
  const all: readonly Field[] = [
    ['StatusCode', 200],
    ['ServiceVersion', version],
    ['ServicePort', socket?.localPort],
    ...fields,
    ['IP', address],
    ['Hostname', hostname()],
  ];
  return all.map(([name, value]) => `${name}=${value ?? ''}\n`).join('');
}

function answerHttp(request: IncomingMessage, response: ServerResponse): void {
  const { method, url, httpVersion, headers, rawHeaders, socket } = request;
  const fields: Field[] = [
    ['Host', headers.host],
    ['URL', url],
    ['Method', method],
    ['Proto', `HTTP/${httpVersion}`],
  ];
  for (let index = 0; index < rawHeaders.length; index += 2) {
    fields.push(['RequestHeader', `${rawHeaders[index]}:${rawHeaders[index + 1]}`]);
  }
  response.writeHead(200, { 'content-type': 'text/plain' }).end(lines(socket, fields));
}

function answerGrpc(stream: ServerHttp2Stream, headers: IncomingHttpHeaders): void {
  const chunks: Buffer[] = [];
  stream.on('error', () => stream.destroy());
  stream.on('data', (chunk: Buffer) => chunks.push(chunk));
  stream.on('end', () => {
    const fields: Field[] = [
      ['Host', headers[':authority']],
      ['URL', headers[':path']],
      ['Proto', 'GRPC'],
      ...Object.entries(headers).map(([name, value]): Field => ['RequestHeader', `${name}:${String(value)}`]),
      ['Echo', decodeEcho(Buffer.concat(chunks))],
    ];
    stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
    stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
    stream.end(encodeEcho(lines(stream.session?.socket, fields)));
  });
}

function answerTcp(socket: Socket): void {
  socket.on('error', () => socket.destroy());
  socket.once('data', (chunk: Buffer) => {
    const fields: Field[] = [
      ['Proto', 'TCP'],
      ['Echo', chunk.toString().trimEnd()],
    ];
    socket.end(lines(socket, fields));
  });
}

// A deployment of the suite gives no flags at all and only wants the pod to stay.
const httpPorts = flags.port.length === 0 ? ['8080'] : flags.port;
for (const port of httpPorts) {
  const server = flags.tls.includes(port)
    ? createHttpsServer(
        { cert: readFileSync(flags.crt ?? ''), key: readFileSync(flags.key ?? '') },
        answerHttp,
      )
    : createServer(answerHttp);
  server.listen(Number(port));
}
for (const port of flags.grpc) createHttp2Server().on('stream', answerGrpc).listen(Number(port));
for (const port of flags.tcp) createTcpServer(answerTcp).listen(Number(port));
process.on('SIGTERM', () => process.exit(0));
