import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import { connect as connectTls, createServer as createTls } from 'node:tls';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { TestAuthority } from '../../../mesh/io/testing/authority.ts';
import type { RouteSet } from '../../../mesh/model/routing.ts';
import type { Service } from '../../../mesh/model/service.ts';
import { PlaneRig, toService } from '../../testing/plane-rig.ts';
import { maxClientHelloBytes, readServerName } from './server-name.ts';

/** The first bytes that a real client sends. */
async function clientHello(servername: string | undefined): Promise<Buffer> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  const accepted = once(server, 'connection');
  const client = connectTls({
    port,
    host: '127.0.0.1',
    rejectUnauthorized: false,
    ...(servername === undefined ? {} : { servername }),
  });
  client.on('error', () => {});
  const [socket] = (await accepted) as [Socket];
  const [hello] = (await once(socket, 'data')) as [Buffer];
  client.destroy();
  socket.destroy();
  server.close();
  return hello;
}

describe('readServerName()', () => {
  it('reads what a real client says, and asks for more until it is all there', async () => {
    const hello = await clientHello('Api.Example.com');
    expect(readServerName(hello)).toEqual({ kind: 'name', name: 'api.example.com' });
    for (let length = 0; length < hello.length; length++)
      expect(readServerName(hello.subarray(0, length)).kind).toBe('need-more');
  });

  it('reads a ClientHello that is spread over several records', async () => {
    const hello = await clientHello('spread.example.com');
    const body = hello.subarray(5);
    const records: Buffer[] = [];
    for (let at = 0; at < body.length; at += 50) {
      const part = body.subarray(at, at + 50);
      records.push(Buffer.from([22, 3, 1, 0, part.length]), part);
    }
    expect(readServerName(Buffer.concat(records))).toEqual({ kind: 'name', name: 'spread.example.com' });
  });

  it('says that there is none where there is none', async () => {
    expect(readServerName(await clientHello(undefined))).toEqual({ kind: 'none' });
    expect(readServerName(Buffer.from('GET / HTTP/1.1\r\n\r\n'))).toEqual({ kind: 'none' });
  });

  it('never throws and never asks for more than it may, whatever the bytes', async () => {
    const hello = await clientHello('api.example.com');
    fc.assert(
      fc.property(fc.nat(hello.length - 1), fc.nat(255), fc.nat(hello.length), (at, value, end) => {
        const changed = Buffer.from(hello);
        changed[at] = value;
        readServerName(changed.subarray(0, end));
      }),
    );
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => void readServerName(Buffer.from(bytes))),
    );
    const endless = Buffer.alloc(maxClientHelloBytes + 6, 0);
    endless.set([22, 3, 1, 0x40, 0, 1, 0xff, 0xff, 0xff]);
    expect(readServerName(endless).kind).toBe('none');
  });
});

describe('TLS that is passed through', () => {
  it('goes where its server name says, unread', async () => {
    await using rig = new PlaneRig();
    const authority = await TestAuthority.create();
    const { privateKeyPem: key, chainPem: cert } = await authority.issue({ dnsNames: ['*.example.com'] });
    const serve = (name: string) => rig.serve(createTls({ key, cert }, (socket) => socket.end(name)));
    const backend = async (name: string): Promise<Service> =>
      rig.service(name, [await serve(name)], { appProtocol: 'tls' });
    const [blue, green] = [await backend('blue'), await backend('green')];
    const tls = (hostname: string, service: Service): RouteSet['tls'][number] => ({
      name: { kind: 'TLSRoute', namespace: 'shop', name: hostname, rule: '0' },
      hostnames: [hostname],
      backends: [toService(service.key)],
    });
    const front = rig.service('front', [], { appProtocol: 'tls' });
    rig.routes(front, { tls: [tls('blue.example.com', blue), tls('*.example.com', green)] });
    const port = rig.listen(front);
    const talk = async (servername: string): Promise<string> => {
      const socket = connectTls({ port, host: '127.0.0.1', servername, ca: authority.rootPem });
      const [data] = (await rig.until('the answer', once(socket, 'data'))) as [Buffer];
      socket.destroy();
      return data.toString();
    };
    expect([await talk('blue.example.com'), await talk('x.example.com')]).toEqual(['blue', 'green']);
    await rig.when('the records', () => rig.connections.length === 2);
    expect(new Set(rig.connections.map(({ sni }) => sni))).toEqual(
      new Set(['blue.example.com', 'x.example.com']),
    );
    const other = connectTls({ port, host: '127.0.0.1', servername: 'other.example.org' });
    other.on('error', () => {});
    await rig.until('the refusal', new Promise((resolve) => other.once('close', resolve)));
    expect(rig.connections.at(-1)).toMatchObject({ flag: 'NR' });
  });
});
