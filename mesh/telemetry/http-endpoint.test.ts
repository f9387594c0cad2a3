import net from 'node:net';
import { networkInterfaces } from 'node:os';
import { afterEach, describe, expect, it } from 'vitest';
import { type HttpEndpoint, type HttpEndpointOptions, openHttpEndpoint } from './http-endpoint.ts';

const hasIpv6 = Object.values(networkInterfaces())
  .flatMap((addresses) => addresses ?? [])
  .some(({ address }) => address === '::1');
let endpoint: HttpEndpoint | undefined;
const errors: Error[] = [];

async function open(options: Partial<HttpEndpointOptions> = {}): Promise<HttpEndpoint> {
  endpoint = await openHttpEndpoint({
    address: '127.0.0.1',
    port: 0,
    onError: (error) => errors.push(error),
    routes: {
      '/echo': {
        get: ({ params }) => ({ body: params.get('q') ?? '' }),
        post: ({ body }) => ({ body }),
      },
      '/broken': {
        get: () => {
          throw new Error('No');
        },
      },
    },
    ...options,
  });
  return endpoint;
}

/** Sends raw bytes, returns what came until the server closed. */
function raw(port: number, text: string): Promise<string> {
  return new Promise((resolve) => {
    let out = '';
    const socket = net.connect(port, '127.0.0.1', () => socket.write(text));
    socket.on('data', (chunk: Buffer) => {
      out += chunk.toString();
    });
    socket.on('error', () => {});
    socket.on('close', () => resolve(out));
  });
}

afterEach(async () => {
  await endpoint?.close();
  endpoint = undefined;
  errors.length = 0;
});

describe('openHttpEndpoint()', () => {
  it('serves IPv4, and IPv6 where the machine has it, when no address is given', async () => {
    endpoint = await openHttpEndpoint({ port: 0, routes: { '/': { get: () => ({ body: 'up' }) } } });
    const { port, address } = endpoint;
    const hosts = address === '::' ? ['127.0.0.1', '[::1]'] : ['127.0.0.1'];
    const bodies = await Promise.all(
      hosts.map(async (host) => (await fetch(`http://${host}:${port}/`)).text()),
    );
    expect(bodies).toEqual(hosts.map(() => 'up'));
    expect(address).toBe(hasIpv6 ? '::' : '0.0.0.0');
  });

  it('serves fixed paths by method, and names the methods it has', async () => {
    const { port } = await open();
    const at = `http://127.0.0.1:${port}`;
    expect(await (await fetch(`${at}/echo?q=a%20b`)).text()).toBe('a b');
    expect(await (await fetch(`${at}/echo`, { method: 'POST', body: 'hi' })).text()).toBe('hi');
    expect((await fetch(`${at}/echo`, { method: 'HEAD' })).status).toBe(200);
    expect((await fetch(`${at}/nope`)).status).toBe(404);
    expect((await fetch(`${at}/toString`)).status).toBe(404);
    const wrong = await fetch(`${at}/echo`, { method: 'DELETE' });
    expect([wrong.status, await wrong.text()]).toEqual([405, 'Method not allowed, use GET, POST\n']);
  });

  it('hides what went wrong inside and reports it', async () => {
    const { port } = await open();
    const reply = await fetch(`http://127.0.0.1:${port}/broken`);
    expect([reply.status, await reply.text()]).toEqual([500, 'Internal error\n']);
    expect(errors.map(({ message }) => message)).toEqual(['No']);
  });

  it('refuses a foreign Host and a POST from a web page', async () => {
    const { port } = await open({ allowedHosts: ['localhost', '127.0.0.1'] });
    const get = (host: string) =>
      raw(port, `GET /echo?q=ok HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`);
    expect(await get('evil.example.com')).toMatch(/^HTTP\/1.1 403 /);
    expect(await get(`localhost:${port}`)).toMatch(/^HTTP\/1.1 200 /);
    const page = await fetch(`http://127.0.0.1:${port}/echo`, {
      method: 'POST',
      headers: { origin: 'http://evil.example.com' },
    });
    expect(page.status).toBe(403);
  });

  it('bounds bodies and headers', async () => {
    const { port } = await open();
    const body = 'x'.repeat(5_000);
    expect((await fetch(`http://127.0.0.1:${port}/echo`, { method: 'POST', body })).status).toBe(413);
    const header = `GET /echo HTTP/1.1\r\nHost: a\r\nX: ${'y'.repeat(20_000)}\r\n\r\n`;
    expect(await raw(port, header)).toMatch(/^HTTP\/1.1 431 /);
  });

  it('says which address it could not take', async () => {
    const { port } = await open();
    await expect(openHttpEndpoint({ address: '127.0.0.1', port, routes: {} })).rejects.toThrow(
      `Could not listen on 127.0.0.1 port ${port}: EADDRINUSE`,
    );
  });

  it('closes with connections open', async () => {
    const { port } = await open();
    const socket = net.connect(port, '127.0.0.1');
    const closed = new Promise((resolve) => socket.once('close', resolve));
    socket.on('error', () => {});
    await new Promise((resolve) => socket.once('connect', resolve));
    await endpoint?.close();
    await closed;
    endpoint = undefined;
  });
});
