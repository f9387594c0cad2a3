import { Server, ServerCredentials } from '@grpc/grpc-js';
import { BinaryReader, BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import { createServer, type IncomingMessage, type RequestListener } from 'node:http';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { ExternalAuthFilter } from '../../../mesh/model/routing.ts';
import type { Service } from '../../../mesh/model/service.ts';
import { ask } from '../../testing/ask.ts';
import { PlaneRig, rule } from '../../testing/plane-rig.ts';
import { decodeCheckResponse } from './check-message.ts';

function filterFor(service: Service, change: Partial<ExternalAuthFilter> = {}): ExternalAuthFilter {
  return {
    kind: 'external-auth',
    protocol: 'http',
    target: { kind: 'service', service: service.key, port: 80 },
    path: '/check',
    allowedHeaders: ['x-user'],
    allowedResponseHeaders: ['x-role'],
    maxBodyBytes: 0,
    ...change,
  };
}

async function world(check: RequestListener, change: Partial<ExternalAuthFilter> = {}) {
  const rig = new PlaneRig();
  const seen: IncomingMessage['headers'][] = [];
  const app = rig.service('app', [
    await rig.serve(
      createServer((incoming, outgoing) => {
        seen.push(incoming.headers);
        incoming.pipe(outgoing);
      }),
    ),
  ]);
  const auth = rig.service('auth', [await rig.serve(createServer(check))]);
  const front = rig.service('front', []);
  rig.routes(front, { http: [rule([app], { filters: [filterFor(auth, change)] })] });
  return { rig, auth, front, app, port: rig.listen(front), seen };
}

describe('ExternalAuth over HTTP', () => {
  it('lets a request go on with what the service says about it', async () => {
    const checks: { url: string | undefined; headers: IncomingMessage['headers'] }[] = [];
    const { rig, port, seen } = await world((incoming, outgoing) => {
      checks.push({ url: incoming.url, headers: incoming.headers });
      outgoing.writeHead(200, { 'x-role': 'admin', 'x-other': 'kept back' }).end();
    });
    await using _rig = rig;
    const headers = { 'x-user': 'eve', 'x-secret': 's', authorization: 'Bearer t', 'x-role': 'forged' };
    expect(
      (await ask(rig, port, { method: 'POST', path: '/a?b', headers, body: 'body' })).body.toString(),
    ).toBe('body');
    expect(checks[0]).toMatchObject({
      url: '/check/a?b',
      headers: { 'x-user': 'eve', authorization: 'Bearer t' },
    });
    expect(checks[0]?.headers).not.toHaveProperty('x-secret');
    expect(seen[0]).toMatchObject({ 'x-role': 'admin', 'x-secret': 's' });
    expect(seen[0]).not.toHaveProperty('x-other');
  });

  it('answers with what the service answers when that denies', async () => {
    const { rig, port, seen } = await world((_incoming, outgoing) => {
      outgoing
        .writeHead(302, { location: 'https://login.example/', 'content-type': 'text/html' })
        .end('<p>log in');
    });
    await using _rig = rig;
    const answer = await ask(rig, port);
    expect([answer.status, answer.headers.location, answer.body.toString()]).toEqual([
      302,
      'https://login.example/',
      '<p>log in',
    ]);
    expect(seen).toEqual([]);
    expect(await rig.record()).toMatchObject({ flag: 'UAEX', attempts: 0 });
  });

  it('denies when the service fails or is not there', async () => {
    const { rig, port, auth, seen } = await world((_incoming, outgoing) => outgoing.writeHead(500).end());
    await using _rig = rig;
    expect((await ask(rig, port)).status).toBe(403);
    rig.endpoints(auth, [1]);
    expect((await ask(rig, port)).status).toBe(403);
    expect(seen).toEqual([]);
  });

  it('sends the body along as far as it may, and the application gets it in whole', async () => {
    const bodies: string[] = [];
    const { rig, port } = await world(
      (incoming, outgoing) => {
        let body = '';
        incoming.on('data', (part) => (body += String(part)));
        incoming.on('end', () => {
          bodies.push(body);
          outgoing.end();
        });
      },
      { maxBodyBytes: 10 },
    );
    await using _rig = rig;
    const body = 'x'.repeat(300_000);
    expect((await ask(rig, port, { method: 'POST', body })).body.toString()).toBe(body);
    expect((await ask(rig, port, { method: 'POST', body: 'short' })).body.toString()).toBe('short');
    expect(bodies).toEqual(['x'.repeat(10), 'short']);
  });
});

/** What the tests need of envoy.service.auth.v3.Authorization. */
async function grpcService(rig: PlaneRig, answer: (request: Buffer) => Buffer): Promise<number> {
  const server = new Server();
  const same = (value: Buffer): Buffer => value;
  const check = {
    path: '/envoy.service.auth.v3.Authorization/Check',
    requestStream: false,
    responseStream: false,
    requestSerialize: same,
    requestDeserialize: same,
    responseSerialize: same,
    responseDeserialize: same,
  };
  server.addService(
    { check },
    {
      check: (call: { request: Buffer }, done: (error: null, value: Buffer) => void) =>
        done(null, answer(call.request)),
    },
  );
  rig.onClose(() => server.forceShutdown());
  return await new Promise((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, port) =>
      error === null ? resolve(port) : reject(error),
    );
  });
}

function headerOption(writer: BinaryWriter, field: number, [key, value]: [string, string]): void {
  writer.tag(field, WireType.LengthDelimited).fork();
  writer.tag(1, WireType.LengthDelimited).fork();
  writer.tag(1, WireType.LengthDelimited).string(key);
  writer.tag(2, WireType.LengthDelimited).string(value);
  writer.join().join();
}

function response(code: number, inner: (writer: BinaryWriter) => void): Buffer {
  const writer = new BinaryWriter();
  writer.tag(1, WireType.LengthDelimited).fork().tag(1, WireType.Varint).int32(code).join();
  writer.tag(code === 0 ? 3 : 2, WireType.LengthDelimited).fork();
  inner(writer);
  return Buffer.from(writer.join().finish());
}

/** The texts in a message, by the path of their fields. */
function textsOf(bytes: Uint8Array, path: readonly number[]): string[] {
  const [wanted, ...rest] = path;
  const found: string[] = [];
  const reader = new BinaryReader(bytes);
  while (reader.pos < reader.len) {
    const [field, type] = reader.tag();
    if (type !== WireType.LengthDelimited) reader.skip(type, field);
    else {
      const value = reader.bytes();
      if (field === wanted)
        found.push(...(rest.length === 0 ? [Buffer.from(value).toString()] : textsOf(value, rest)));
    }
  }
  return found;
}

describe('ExternalAuth over gRPC', () => {
  it('asks with the facts of the request and does what the answer says', async () => {
    const requests: Buffer[] = [];
    const { rig, auth, front, app, port, seen } = await world(() => {});
    await using _rig = rig;
    let allow = true;
    const target = await grpcService(rig, (request) => {
      requests.push(request);
      return allow
        ? response(0, (writer) => {
            headerOption(writer, 2, ['X-Role', 'admin']);
            writer.tag(5, WireType.LengthDelimited).string('authorization');
            headerOption(writer, 6, ['x-checked', 'yes']);
          })
        : response(7, (writer) => {
            writer.tag(1, WireType.LengthDelimited).fork().tag(1, WireType.Varint).int32(451).join();
            headerOption(writer, 2, ['x-why', 'law']);
            writer.tag(3, WireType.LengthDelimited).string('no');
          });
    });
    rig.endpoints(auth, [target]);
    rig.routes(front, {
      http: [rule([app], { filters: [filterFor(auth, { protocol: 'grpc', allowedHeaders: [] })] })],
    });
    const allowed = await ask(rig, port, {
      path: '/x',
      headers: { host: 'front.example', authorization: 'Basic x' },
    });
    expect([allowed.status, allowed.headers['x-checked']]).toEqual([200, 'yes']);
    expect(seen[0]).toMatchObject({ 'x-role': 'admin' });
    expect(seen[0]).not.toHaveProperty('authorization');
    const http = [1, 4, 2];
    const facts = [2, 4, 5, 10].map((field) => textsOf(requests[0] as Buffer, [...http, field])[0]);
    expect(facts).toEqual(['GET', '/x', 'front.example', 'HTTP/1.1']);
    expect(textsOf(requests[0] as Buffer, [1, 1, 1, 1, 2])).toEqual(['127.0.0.1']);
    allow = false;
    const denied = await ask(rig, port);
    expect([denied.status, denied.headers['x-why'], denied.body.toString()]).toEqual([451, 'law', 'no']);
  });
});

describe('decodeCheckResponse()', () => {
  it('never throws, whatever the bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
        const framed = Buffer.concat([Buffer.from([0, 0, 0, 0, bytes.length]), bytes]);
        decodeCheckResponse(framed);
        decodeCheckResponse(Buffer.from(bytes));
      }),
    );
  });
});
