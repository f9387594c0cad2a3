import {
  Client,
  type ClientDuplexStream,
  credentials,
  type Metadata,
  type sendUnaryData,
  Server,
  ServerCredentials,
  type ServerUnaryCall,
  type ServiceError,
  status,
} from '@grpc/grpc-js';
import { once } from 'node:events';
import { describe, expect, it } from 'vitest';
import { Slab } from '../../mesh/io/slab.ts';
import { PlaneRig, rule } from '../testing/plane-rig.ts';
import { encodeGrpcMessage, GrpcMessageCounter, isGrpcContentType } from './grpc.ts';

const plain = {
  requestSerialize: (v: Buffer) => v,
  requestDeserialize: (v: Buffer) => v,
  responseSerialize: (v: Buffer) => v,
  responseDeserialize: (v: Buffer) => v,
};
const service = {
  echo: { path: '/test.Echo/Echo', requestStream: false, responseStream: false, ...plain },
  chat: { path: '/test.Echo/Chat', requestStream: true, responseStream: true, ...plain },
  never: { path: '/test.Echo/Never', requestStream: false, responseStream: false, ...plain },
};

async function world() {
  const rig = new PlaneRig();
  const server = new Server();
  let cancelled = 0;
  server.addService(service, {
    echo: (call: ServerUnaryCall<Buffer, Buffer>, done: sendUnaryData<Buffer>) => {
      if (call.request.toString() === 'fail') done({ code: status.NOT_FOUND, details: 'nothing here' });
      else done(null, call.request);
    },
    chat: (call: NodeJS.ReadWriteStream) => {
      call.on('data', (part: Buffer) => call.write(part));
      call.on('end', () => call.end());
    },
    never: (call: { on(event: 'cancelled', listener: () => void): void }) => {
      call.on('cancelled', () => cancelled++);
    },
  });
  const target = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, port) =>
      error === null ? resolve(port) : reject(error),
    );
  });
  rig.onClose(() => server.forceShutdown());
  const mesh = rig.service('echo', [target], { appProtocol: 'grpc' });
  const port = rig.listen(mesh);
  const client = new Client(`127.0.0.1:${port}`, credentials.createInsecure());
  rig.onClose(() => client.close());
  return { rig, client, mesh, cancelled: () => cancelled };
}

function unary(
  rig: PlaneRig,
  client: Client,
  text: string,
  { path = '/test.Echo/Echo', deadlineMs = 10_000 }: { path?: string; deadlineMs?: number } = {},
): Promise<string> {
  const call = new Promise<string>((resolve, reject) => {
    const same = (value: Buffer): Buffer => value;
    client.makeUnaryRequest(
      path,
      same,
      same,
      Buffer.from(text),
      { deadline: Date.now() + deadlineMs },
      (error, value) => (error === null ? resolve(String(value)) : reject(error)),
    );
  });
  return rig.until('the call', call);
}

describe('gRPC', () => {
  it('calls, with statuses of the application and messages counted', async () => {
    const { rig, client } = await world();
    await using _rig = rig;
    expect(await unary(rig, client, 'hello')).toBe('hello');
    await expect(unary(rig, client, 'fail')).rejects.toMatchObject({
      code: status.NOT_FOUND,
      details: 'nothing here',
    });
    expect(await rig.record(0)).toMatchObject({
      grpc: true,
      grpcStatus: 0,
      requestMessages: 1,
      responseMessages: 1,
    });
    expect(await rig.record(1)).toMatchObject({ grpcStatus: 5, status: 200, flag: '' });
  });

  it('streams both ways', async () => {
    const { rig, client } = await world();
    await using _rig = rig;
    const same = (value: Buffer): Buffer => value;
    const call: ClientDuplexStream<Buffer, Buffer> = client.makeBidiStreamRequest(
      '/test.Echo/Chat',
      same,
      same,
    );
    const echoes: string[] = [];
    call.on('data', (part: Buffer) => echoes.push(part.toString()));
    for (const word of ['one', 'two', 'three']) {
      const had = echoes.length;
      call.write(Buffer.from(word));
      await rig.when('the echo', () => echoes.length > had);
    }
    const ended = once(call, 'status');
    call.end();
    expect(((await rig.until('the status', ended)) as [{ code: number; metadata: Metadata }])[0].code).toBe(
      0,
    );
    expect(await rig.record()).toMatchObject({ requestMessages: 3, responseMessages: 3, grpcStatus: 0 });
  });

  it('keeps the deadline of the client, and cancels at the endpoint', async () => {
    const { rig, client, cancelled } = await world();
    await using _rig = rig;
    const error = await unary(rig, client, 'x', { path: '/test.Echo/Never', deadlineMs: 150 }).catch(
      (e: ServiceError) => e,
    );
    expect(error).toMatchObject({ code: status.DEADLINE_EXCEEDED });
    await rig.when('the cancellation', () => cancelled() === 1);
  });

  it('hears of what the waypoint decides as a gRPC status', async () => {
    const { rig, client, mesh } = await world();
    await using _rig = rig;
    rig.routes(mesh, {
      http: [
        rule([mesh], {
          matches: [
            {
              path: { kind: 'exact', value: '/none' },
              method: undefined,
              headers: [],
              query: [],
              grpc: undefined,
            },
          ],
        }),
      ],
    });
    await expect(unary(rig, client, 'x')).rejects.toMatchObject({
      code: status.UNIMPLEMENTED,
      details: 'no route for this request',
    });
    rig.routes(mesh, { http: [] });
    rig.endpoints(mesh, []);
    await expect(unary(rig, client, 'x')).rejects.toMatchObject({ code: status.UNAVAILABLE });
  });
});

describe('GrpcMessageCounter', () => {
  it('counts messages however they are cut', () => {
    const message = (length: number): Buffer =>
      Buffer.concat([Buffer.from([0, 0, 0, length >> 8, length & 255]), Buffer.alloc(length)]);
    const bytes = Buffer.concat([message(0), message(300), message(1), message(70)]);
    const slab = new Slab(bytes.length);
    bytes.copy(slab.bytes);
    for (const step of [1, 2, 3, 5, 7, 64, bytes.length]) {
      const counter = new GrpcMessageCounter();
      for (let at = 0; at < bytes.length; at += step)
        counter.add(slab, at, Math.min(step, bytes.length - at));
      expect(counter.messages).toBe(4);
    }
  });
});

describe('gRPC on the wire', () => {
  it('is told by its content type', () => {
    const types = [
      'application/grpc',
      'application/grpc+proto',
      'application/grpc;x',
      'application/grpc-web',
      'text/plain',
      undefined,
    ];
    expect(types.map(isGrpcContentType)).toEqual([true, true, true, false, false, false]);
  });

  it('has messages percent-encoded', () => {
    expect(encodeGrpcMessage('50% ü\n')).toBe('50%25 %C3%BC%0A');
  });
});
