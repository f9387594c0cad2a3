// Against a real gRPC server on loopback with answers of the test's choice; what the controller really answers is
// tested in controller/identity.

import { create } from '@bufbuild/protobuf';
import { type handleUnaryCall, status } from '@grpc/grpc-js';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '../runtime/clock.ts';
import {
  type IstioCertificateRequest,
  type IstioCertificateResponse,
  IstioCertificateResponseSchema,
} from '../xds/gen/istio/v1/auth/ca_pb.ts';
import { GrpcServer } from '../xds/grpc-server.ts';
import { makeTestRoot, type TestRoot } from '../xds/testing/test-pki.ts';
import type { SpiffeId } from '../model/spiffe-id.ts';
import { certificateService } from './certificate-service-definition.ts';
import { GrpcSigner, type GrpcSignerOptions } from './grpc-signer.ts';

type Handler = handleUnaryCall<IstioCertificateRequest, IstioCertificateResponse>;

const wish = { validitySeconds: 60 };
const answer: Handler = (_call, callback) =>
  callback(null, create(IstioCertificateResponseSchema, { certChain: ['leaf', 'root'] }));

let root: TestRoot;
let handler: Handler;
let server: GrpcServer;
let port: number;
const signers: GrpcSigner[] = [];

beforeEach(async () => {
  root = await makeTestRoot();
  handler = answer;
  await start('127.0.0.1:0');
});

afterEach(async () => {
  for (const signer of signers.splice(0)) signer.close();
  await server.close({ clock: systemClock });
});

async function start(address: string): Promise<void> {
  server = new GrpcServer({ tls: await root.issue({ dns: ['controller.example'], ip: ['127.0.0.1'] }) });
  const createCertificate: Handler = (call, callback) => handler(call, callback);
  server.addService(certificateService, { createCertificate });
  port = await server.bind(address);
}

function make(options: Partial<GrpcSignerOptions> = {}): GrpcSigner {
  const signer = new GrpcSigner({
    address: `127.0.0.1:${port}`,
    rootCertificates: () => root.certificate,
    token: () => 'secret-token',
    clusterId: 'east',
    clock: systemClock,
    ...options,
  });
  signers.push(signer);
  return signer;
}

describe('sign()', () => {
  it('sends request, identity, life, token and cluster, and returns the entries', async () => {
    const seen: unknown[] = [];
    handler = (call, callback) => {
      const { csr, validityDuration, metadata } = call.request;
      seen.push(
        csr,
        validityDuration,
        metadata,
        call.metadata.get('authorization'),
        call.metadata.get('clusterid'),
      );
      answer(call, callback);
    };
    const impersonate = 'spiffe://td/ns/a/sa/b' as SpiffeId;
    expect(await make().sign('csr', { validitySeconds: 90.4, impersonate })).toEqual(['leaf', 'root']);
    expect(seen).toEqual([
      'csr',
      90n,
      { ImpersonatedIdentity: impersonate },
      ['Bearer secret-token'],
      ['east'],
    ]);
  });

  it.each([status.PERMISSION_DENIED, status.UNAUTHENTICATED, status.INVALID_ARGUMENT, status.UNIMPLEMENTED])(
    'takes status %d for a refusal and repeats its reason',
    async (code) => {
      handler = (_call, callback) => callback({ code, details: 'because' });
      await expect(make().sign('csr', wish)).rejects.toMatchObject({
        code: 'signer-refused',
        message: expect.stringContaining(`: ${status[code]}: because`),
      });
    },
  );

  it('gives up on a server that does not answer', async () => {
    handler = () => undefined;
    await expect(make({ timeoutMs: 200 }).sign('csr', wish)).rejects.toMatchObject({
      code: 'signer-unavailable',
      message: expect.stringContaining('DEADLINE_EXCEEDED'),
    });
  });

  it('stops when it is aborted, before and during the call', async () => {
    const abort = new AbortController();
    handler = () => abort.abort();
    const signer = make();
    const { signal } = abort;
    await expect(signer.sign('csr', { ...wish, signal })).rejects.toMatchObject({
      code: 'signer-unavailable',
    });
    handler = () => expect.unreachable();
    await expect(signer.sign('csr', { ...wish, signal })).rejects.toMatchObject({
      code: 'signer-unavailable',
    });
    handler = answer;
    expect(await signer.sign('csr', wish)).toEqual(['leaf', 'root']);
  });

  it('works again at once when the server is back with another root', async () => {
    const signer = make();
    await signer.sign('csr', wish);
    await server.close({ clock: systemClock });
    await expect(signer.sign('csr', wish)).rejects.toMatchObject({ code: 'signer-unavailable' });
    root = await makeTestRoot();
    await start(`127.0.0.1:${port}`);
    expect(await signer.sign('csr', wish)).toEqual(['leaf', 'root']);
  });

  it('answers calls under way, and opens a new connection, when the roots have changed', async () => {
    const other = await makeTestRoot('Second test root');
    let roots = root.certificate;
    const signer = make({ rootCertificates: () => roots });
    const peers: string[] = [];
    const release = Promise.withResolvers<void>();
    const entered = Promise.withResolvers<void>();
    handler = (call, callback) => {
      peers.push(call.getPeer());
      if (peers.length > 1) return answer(call, callback);
      entered.resolve();
      void release.promise.then(() => answer(call, callback));
    };
    const first = signer.sign('csr', wish);
    await entered.promise;
    roots += `\n${other.certificate}`;
    server.updateTls(await other.issue({ ip: ['127.0.0.1'] }));
    expect(await signer.sign('csr', wish)).toEqual(['leaf', 'root']);
    release.resolve();
    expect(await first).toEqual(['leaf', 'root']);
    expect(await signer.sign('csr', wish)).toEqual(['leaf', 'root']);
    expect(peers[1]).not.toBe(peers[0]);
    expect(peers[2]).toBe(peers[1]);
  });

  it('takes the second name for a server that has another than the one dialled', async () => {
    const tls = await root.issue({ dns: ['controller.example'] });
    server.updateTls(tls);
    await expect(make().sign('csr', wish)).rejects.toMatchObject({ code: 'signer-unavailable' });
    expect(await make({ serverName: 'controller.example' }).sign('csr', wish)).toEqual(['leaf', 'root']);
  });

  it.each(['', ' ', 'a b', 'a\nb'])('refuses the token %j without showing it', async (token) => {
    const error: Error = await make({ token: () => token })
      .sign('csr', wish)
      .then(
        () => new Error('signed'),
        (error: Error) => error,
      );
    expect(error).toMatchObject({
      code: 'signer-unavailable',
      message: expect.stringContaining('The token is empty'),
    });
    if (token.trim() !== '') expect(error.message).not.toContain(token);
  });

  it('is refused after close()', async () => {
    const signer = make();
    signer.close();
    await expect(signer.sign('csr', wish)).rejects.toThrow('shutting down');
  });
});

it('a plaintext address is refused, because the token would be readable', () => {
  expect(() => make({ address: 'http://127.0.0.1:1' })).toThrow('Unsupported scheme "http"');
});
