// A gRPC service of a test with one method of each kind, on bytes, and a client of it; what a call meets on the server's
// side is told as events: `cancelled` with the method's name.

import type { EventEmitter } from 'node:events';
import {
  type Client,
  makeGenericClientConstructor,
  Metadata,
  type MethodDefinition,
  Server,
  ServerCredentials,
  type ServerDuplexStream,
  type ServerReadableStream,
  type ServerUnaryCall,
  type ServerWritableStream,
  type sendUnaryData,
  type ServiceDefinition,
  status,
} from '@grpc/grpc-js';

const plain = (bytes: Buffer): Buffer => bytes;

function method(
  name: string,
  requestStream: boolean,
  responseStream: boolean,
): MethodDefinition<Buffer, Buffer> {
  return {
    path: `/weft.test.Streams/${name}`,
    requestStream,
    responseStream,
    requestSerialize: plain,
    requestDeserialize: plain,
    responseSerialize: plain,
    responseDeserialize: plain,
  };
}

const definition = {
  once: method('Once', false, false),
  count: method('Count', false, true),
  gather: method('Gather', true, false),
  echo: method('Echo', true, true),
  never: method('Never', false, false),
  refuse: method('Refuse', false, false),
} satisfies ServiceDefinition;

export const StreamsClient = makeGenericClientConstructor(definition, 'Streams') as unknown as new (
  ...args: ConstructorParameters<typeof Client>
) => Client;
export const paths = definition;

/** Listens on loopback; resolves with its port. */
export async function serveStreams(events: EventEmitter): Promise<{ server: Server; port: number }> {
  const server = new Server();
  server.addService(definition, {
    once: (call: ServerUnaryCall<Buffer, Buffer>, done: sendUnaryData<Buffer>) => {
      const trailers = new Metadata();
      trailers.set('x-said', String(call.metadata.get('x-say')[0] ?? 'nothing'));
      done(null, call.request, trailers);
    },
    count: (call: ServerWritableStream<Buffer, Buffer>) => {
      const last = Number(String(call.request));
      call.on('cancelled', () => events.emit('cancelled', 'count'));
      for (let i = 1; i <= last; i++) call.write(Buffer.from(String(i)));
      // 0 is without end.
      if (last > 0) call.end();
      else call.write(Buffer.from('endless'));
    },
    gather: (call: ServerReadableStream<Buffer, Buffer>, done: sendUnaryData<Buffer>) => {
      let octets = 0;
      call.on('data', (part: Buffer) => (octets += part.length));
      call.on('end', () => done(null, Buffer.from(String(octets))));
    },
    echo: (call: ServerDuplexStream<Buffer, Buffer>) => {
      call.on('data', (part: Buffer) => call.write(part));
      call.on('end', () => call.end());
      call.on('cancelled', () => events.emit('cancelled', 'echo'));
    },
    never: (call: ServerUnaryCall<Buffer, Buffer>) => {
      call.on('cancelled', () => events.emit('cancelled', 'never'));
    },
    refuse: (_call: ServerUnaryCall<Buffer, Buffer>, done: sendUnaryData<Buffer>) => {
      done({ code: status.FAILED_PRECONDITION, details: 'not äs it is' });
    },
  });
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    );
  });
  return { server, port };
}
