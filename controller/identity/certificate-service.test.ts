// The whole way of a certificate over loopback: manager and signer of a node, TLS and gRPC, token, pods, authority;
// and a TLS 1.3 handshake between two workloads with what came out.

import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, createServer, type TLSSocket } from 'node:tls';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { IpAddress } from '../../mesh/model/ip-address.ts';
import { formatSpiffeId, type Identity, type SpiffeId } from '../../mesh/model/spiffe-id.ts';
import { ManualClock } from '../../mesh/runtime/clock.ts';
import { createLogger } from '../../mesh/runtime/logger.ts';
import { parseCertificates } from '../../mesh/tls/certificate.ts';
import { fetchCertificate } from '../../mesh/tls/certificate-client.ts';
import { CertificateManager } from '../../mesh/tls/certificate-manager.ts';
import { createCsr } from '../../mesh/tls/csr.ts';
import { GrpcSigner } from '../../mesh/tls/grpc-signer.ts';
import type { WorkloadCertificate } from '../../mesh/tls/workload-certificate.ts';
import { GrpcServer } from '../../mesh/xds/grpc-server.ts';
import { CertificateAuthority } from '../ca/certificate-authority.ts';
import { ServerCertificate } from '../ca/server-certificate.ts';
import {
  addCertificateService,
  type CertificateServiceOptions,
  type PodsOnNode,
} from './certificate-service.ts';
import { JoinTokens } from './join-tokens.ts';

const api: Identity = { trustDomain: 'cluster.local', namespace: 'shop', serviceAccount: 'api' };
const web: Identity = { trustDomain: 'cluster.local', namespace: 'shop', serviceAccount: 'web' };

/** Pods by node; a wait ends when the test says so. */
class Pods implements PodsOnNode {
  readonly running = new Set<string>();
  readonly waits: { readonly timeoutMs: number; readonly done: (found: boolean) => void }[] = [];

  run(node: string, identity: Identity): void {
    this.running.add(`${node} ${formatSpiffeId(identity)}`);
  }

  hasServiceAccount(node: string, identity: Identity): boolean {
    return this.running.has(`${node} ${formatSpiffeId(identity)}`);
  }

  waitFor(_node: string, _identity: Identity, timeoutMs: number): Promise<boolean> {
    return new Promise((done) => this.waits.push({ timeoutMs, done }));
  }
}

let stateDir: string;
let clock: ManualClock;
let authority: CertificateAuthority;
let serverCertificate: ServerCertificate;
let tokens: JoinTokens;
let pods: Pods;
let gateways: Map<string, Identity>;
let server: GrpcServer;
let port: number;
let results: string[];
let log: Record<string, unknown>[];
let options: CertificateServiceOptions;
const cleanup: (() => void)[] = [];

beforeEach(async () => {
  stateDir = await mkdtemp(join(tmpdir(), 'weft-service-'));
  clock = new ManualClock(Math.floor(Date.now() / 1000) * 1000);
  log = [];
  results = [];
  const destination = { write: (line: string) => void log.push(JSON.parse(line)) };
  const logger = createLogger({ component: 'ca', destination });
  const silent = createLogger({ component: 'test', level: 'silent' });
  authority = await CertificateAuthority.open({ stateDir, clock, logger: silent });
  serverCertificate = await ServerCertificate.open({
    authority,
    clock,
    logger: silent,
    dnsNames: ['localhost'],
    ipAddresses: ['127.0.0.1' as IpAddress],
  });
  tokens = new JoinTokens({ stateDir, clock });
  pods = new Pods();
  gateways = new Map();
  const waypoints = { identityOf: (gateway: string) => gateways.get(gateway) };
  const counter = { inc: ({ result }: { result: string }) => void results.push(result) };
  options = { authority, authenticator: tokens, pods, waypoints, logger, counter, maxParallelPerCaller: 3 };
  const { privateKeyPem: key, chainPem: certificateChain } = serverCertificate.current();
  server = new GrpcServer({ tls: { key, certificateChain } });
  serverCertificate.subscribe(({ privateKeyPem, chainPem }) =>
    server.updateTls({ key: privateKeyPem, certificateChain: chainPem }),
  );
  addCertificateService(server, options);
  port = await server.bind('127.0.0.1:0');
});

afterEach(async () => {
  for (const clean of cleanup.splice(0)) clean();
  for (const { done } of pods.waits) done(false);
  const closed = server.close({ clock });
  clock.advance(1);
  await closed;
  serverCertificate.close();
  authority.close();
  await rm(stateDir, { recursive: true });
});

interface CallerOptions {
  /** Text after `Bearer`; absent sends none. */
  readonly token?: string;
  readonly rootsPem?: string;
}

function signer({ token, rootsPem = authority.rootsPem() }: CallerOptions): GrpcSigner {
  const made = new GrpcSigner({
    address: `127.0.0.1:${port}`,
    rootCertificates: () => rootsPem,
    token: () => token,
    clusterId: 'Kubernetes',
    clock,
  });
  cleanup.push(() => made.close());
  return made;
}

async function nodeSigner(node = 'node-1'): Promise<GrpcSigner> {
  return signer(await tokens.create(node));
}

function fetch(from: GrpcSigner, identity: Identity, ttlSeconds = 3600): Promise<WorkloadCertificate> {
  return fetchCertificate(identity, { signer: from, clock, ttlSeconds });
}

function lastLog(): Record<string, unknown> | undefined {
  return log.at(-1);
}

describe('a waypoint', () => {
  const own: Identity = { trustDomain: 'cluster.local', namespace: 'shop', serviceAccount: 'gate' };

  async function waypointSigner(gateway = 'shop/gate'): Promise<GrpcSigner> {
    return signer(await tokens.createForWaypoint(gateway));
  }

  it('gets a certificate of its own identity, logged with its name', async () => {
    gateways.set('shop/gate', own);
    expect((await fetch(await waypointSigner(), own)).identity).toEqual(own);
    expect(results).toEqual(['issued']);
    expect(lastLog()).toMatchObject({ waypoint: 'shop/gate', identity: formatSpiffeId(own) });
    expect(lastLog()).not.toHaveProperty('node');
  });

  it.each<[string, Identity]>([
    ['a pod, wherever it runs', api],
    ['a waypoint of the same name in another namespace', { ...own, namespace: 'bank' }],
    ['itself in another trust domain', { ...own, trustDomain: 'elsewhere' }],
  ])('is refused the identity of %s', async (_whose, identity) => {
    gateways.set('shop/gate', own);
    gateways.set('bank/gate', { ...own, namespace: 'bank' });
    pods.run('shop/gate', identity);
    pods.run('waypoint/shop/gate', identity);
    await expect(fetch(await waypointSigner(), identity)).rejects.toMatchObject({
      code: 'signer-refused',
      message: expect.stringContaining(
        'PERMISSION_DENIED: Waypoint "shop/gate" may not have a certificate of',
      ),
    });
    expect(results).toEqual(['identity-not-own']);
    expect(pods.waits).toEqual([]);
  });

  it('is refused while there is no Gateway of its name, and served when there is', async () => {
    const from = await waypointSigner();
    await expect(fetch(from, own)).rejects.toMatchObject({
      message: expect.stringContaining('There is no Gateway "shop/gate" of class weft-waypoint'),
    });
    expect(results).toEqual(['gateway-unknown']);
    gateways.set('shop/gate', own);
    expect((await fetch(from, own)).identity).toEqual(own);
  });
});

describe('a node', () => {
  it('gets a certificate for a pod that runs on it, logged and counted once', async () => {
    pods.run('node-1', api);
    const { token, record } = await tokens.create('node-1');
    const certificate = await fetch(signer({ token }), api);
    expect(certificate).toMatchObject({
      spiffeId: 'spiffe://cluster.local/ns/shop/sa/api',
      rootsPem: authority.rootsPem(),
    });
    expect(certificate.notAfter - clock.now()).toBeGreaterThan(3598_000);
    expect(results).toEqual(['issued']);
    expect(log).toHaveLength(1);
    expect(lastLog()).toMatchObject({
      message: 'certificate issued',
      node: 'node-1',
      token: record.id,
      identity: certificate.spiffeId,
      serial: certificate.serial,
    });
    expect(JSON.stringify(log)).not.toContain(token.split('.')[2]);
  });

  it('gets as much life as the bounds allow', async () => {
    pods.run('node-1', api);
    const from = await nodeSigner();
    const lives = await Promise.all([1, 0, 1e9].map((ttl) => fetch(from, api, ttl)));
    const seconds = lives.map(({ notAfter }) => Math.round((notAfter - clock.now()) / 1000));
    expect(seconds).toEqual([60, 86_400, 7 * 86_400]);
  });

  it('is refused an identity of another node, with who and why', async () => {
    pods.run('node-2', api);
    const request = fetch(await nodeSigner(), api);
    await expect.poll(() => pods.waits).toHaveLength(1);
    expect(pods.waits[0]?.timeoutMs).toBe(2000);
    pods.waits[0]?.done(false);
    await expect(request).rejects.toMatchObject({
      code: 'signer-refused',
      message: expect.stringContaining(
        'PERMISSION_DENIED: Node "node-1" may not have a certificate of "spiffe://cluster.local/ns/shop/sa/api": no pod',
      ),
    });
    expect(results).toEqual(['identity-not-on-node']);
    expect(lastLog()).toMatchObject({
      message: 'certificate refused',
      node: 'node-1',
      code: 'identity-not-on-node',
    });
  });

  it('is refused when a wait claims a pod that is not there', async () => {
    const request = fetch(await nodeSigner(), api);
    await expect.poll(() => pods.waits).toHaveLength(1);
    pods.waits[0]?.done(true);
    await expect(request).rejects.toMatchObject({ code: 'signer-refused' });
  });

  it('waits for a pod that the controller hears of a moment later', async () => {
    const request = fetch(await nodeSigner(), api);
    await expect.poll(() => pods.waits).toHaveLength(1);
    pods.run('node-1', api);
    pods.waits[0]?.done(true);
    expect((await request).identity).toEqual(api);
  });

  it('is refused the same service account of another trust domain', async () => {
    pods.run('node-1', api);
    const request = fetch(await nodeSigner(), { ...api, trustDomain: 'other.example' });
    await expect.poll(() => pods.waits).toHaveLength(1);
    pods.waits[0]?.done(false);
    await expect(request).rejects.toMatchObject({ code: 'signer-refused' });
  });

  it('is refused a request that names one identity and asks in the CSR for another', async () => {
    pods.run('node-1', api);
    const { csrPem } = await createCsr(web);
    const from = await nodeSigner();
    await expect(
      from.sign(csrPem, { validitySeconds: 60, impersonate: formatSpiffeId(api) }),
    ).rejects.toMatchObject({
      message: expect.stringContaining('PERMISSION_DENIED: Certificate request asks for'),
    });
    expect(results).toEqual(['csr-identity-mismatch']);
  });

  it('is refused without a name, and with one that is no identity', async () => {
    pods.run('node-1', api);
    const { csrPem } = await createCsr(api);
    const from = await nodeSigner();
    await expect(from.sign(csrPem, { validitySeconds: 60 })).rejects.toThrow('has no identity of its own');
    const impersonate = 'spiffe://cluster.local/api' as SpiffeId;
    await expect(from.sign(csrPem, { validitySeconds: 60, impersonate })).rejects.toThrow('INVALID_ARGUMENT');
    expect(results).toEqual(['identity-missing', 'identity-malformed']);
  });

  it.each([
    ['csr-malformed', 'garbage'],
    ['csr-too-large', 'x'.repeat(70_000)],
  ])('is refused a bad CSR: %s', async (code, csrPem) => {
    pods.run('node-1', api);
    const from = await nodeSigner();
    const impersonate = formatSpiffeId(api);
    await expect(from.sign(csrPem, { validitySeconds: 60, impersonate })).rejects.toThrow('INVALID_ARGUMENT');
    expect(results).toEqual([code]);
  });

  it('has at most so many requests under way, while another node is served', async () => {
    const from = await nodeSigner();
    const waiting = [1, 2, 3].map(() => fetch(from, api).catch((error: Error) => error));
    await expect.poll(() => pods.waits).toHaveLength(3);
    await expect(fetch(from, api)).rejects.toMatchObject({
      code: 'signer-unavailable',
      message: expect.stringContaining('RESOURCE_EXHAUSTED: "node-1" has 3'),
    });
    pods.run('node-2', web);
    expect((await fetch(await nodeSigner('node-2'), web)).identity).toEqual(web);
    for (const { done } of pods.waits) done(false);
    await Promise.all(waiting);
    pods.run('node-1', api);
    expect((await fetch(from, api)).identity).toEqual(api);
  });

  it('that gave up gets no certificate signed', async () => {
    const abort = new AbortController();
    const from = await nodeSigner();
    const request = fetchCertificate(api, {
      signer: from,
      clock,
      ttlSeconds: 60,
      signal: abort.signal,
    });
    await expect.poll(() => pods.waits).toHaveLength(1);
    abort.abort();
    await expect(request).rejects.toMatchObject({ code: 'signer-unavailable' });
    // The server hears of the cancel in its own time; one more round trip on the same connection is later.
    pods.run('node-1', web);
    await fetch(from, web);
    pods.run('node-1', api);
    pods.waits[0]?.done(true);
    await expect.poll(() => results).toContain('cancelled');
    expect(results.filter((result) => result === 'issued')).toHaveLength(1);
  });
});

describe('a caller without a good token', () => {
  it.each<[string, string, () => Promise<CallerOptions>]>([
    ['none at all', 'token-missing', async () => ({})],
    ['one of another form', 'token-malformed', async () => ({ token: 'secret' })],
    [
      'one nobody made',
      'token-unknown',
      async () => ({ token: `weft1.${'0'.repeat(16)}.${'A'.repeat(43)}` }),
    ],
    [
      'the secret of another',
      'token-wrong',
      async () => ({ token: (await tokens.create('node-1')).token.replace(/[^.]+$/, 'A'.repeat(43)) }),
    ],
    [
      'an expired one',
      'token-expired',
      async () => {
        const { token } = await tokens.create('node-1', { lifeSeconds: 60 });
        clock.advance(60_000);
        return { token };
      },
    ],
    [
      'a revoked one',
      'token-unknown',
      async () => {
        const { token, record } = await tokens.create('node-1');
        await tokens.revoke(record.id);
        return { token };
      },
    ],
  ])('is refused as unauthenticated: %s', async (_title, code, makeCaller) => {
    pods.run('node-1', api);
    const caller = await makeCaller();
    await expect(fetch(signer(caller), api)).rejects.toMatchObject({
      code: 'signer-refused',
      message: expect.stringMatching(new RegExp(`UNAUTHENTICATED: Token refused: ${code}$`)),
    });
    expect(results).toEqual([code]);
    expect(lastLog()).toMatchObject({
      message: 'certificate refused',
      code,
      peer: expect.stringContaining('127.0.0.1'),
    });
  });
});

it('a node does not show its token to a server with a foreign certificate', async () => {
  const strangerDir = await mkdtemp(join(tmpdir(), 'weft-stranger-'));
  const logger = createLogger({ component: 'test', level: 'silent' });
  const stranger = await CertificateAuthority.open({ stateDir: strangerDir, clock, logger });
  pods.run('node-1', api);
  const { token } = await tokens.create('node-1');
  await expect(fetch(signer({ token, rootsPem: stranger.rootsPem() }), api)).rejects.toMatchObject({
    code: 'signer-unavailable',
  });
  expect(results).toEqual([]);
  stranger.close();
  await rm(strangerDir, { recursive: true });
});

it('the server shows a renewed certificate to new connections', async () => {
  const serialSeen = async () => {
    const socket = connect({ host: '127.0.0.1', port, ca: authority.rootsPem(), ALPNProtocols: ['h2'] });
    await once(socket, 'secureConnect');
    const { serialNumber } = socket.getPeerCertificate();
    socket.destroy();
    return serialNumber.toLowerCase();
  };
  const first = serverCertificate.current().serial;
  expect(await serialSeen()).toBe(first);
  await authority.startRotation();
  await expect.poll(() => serverCertificate.current().serial).not.toBe(first);
  expect(await serialSeen()).toBe(serverCertificate.current().serial);
});

it('a manager renews through the whole way, and gets both roots during a rotation', async () => {
  pods.run('node-1', api);
  const logger = createLogger({ component: 'test', level: 'silent' });
  const manager = new CertificateManager({
    signer: await nodeSigner(),
    clock,
    logger,
    ttlSeconds: 600,
    random: () => 0.5,
  });
  cleanup.push(() => manager.close());
  manager.want(api);
  await expect.poll(() => manager.get(api)).toBeDefined();
  const first = manager.get(api);
  await authority.startRotation();
  clock.advance(300_000);
  await expect.poll(() => manager.get(api)?.serial).not.toBe(first?.serial);
  expect(parseCertificates(manager.get(api)?.rootsPem ?? '')).toHaveLength(2);
});

describe('two workloads', () => {
  /** A TLS 1.3 handshake with both sides verified; returns what each side saw, or its error. */
  async function handshake(
    serverSide: WorkloadCertificate,
    clientSide: WorkloadCertificate,
  ): Promise<string[]> {
    const listener = createServer({ ...tlsOptions(serverSide), requestCert: true });
    listener.listen(0, '127.0.0.1');
    await once(listener, 'listening');
    const accepted = new Promise<string>((resolve) => {
      listener.once('secureConnection', (socket: TLSSocket) => {
        resolve(describePeer(socket));
        socket.end();
      });
      listener.once('tlsClientError', (error) => resolve((error as NodeJS.ErrnoException).code ?? ''));
    });
    const socket = connect({
      ...tlsOptions(clientSide),
      host: '127.0.0.1',
      port: (listener.address() as AddressInfo).port,
      checkServerIdentity: () => undefined,
    });
    const dialled = new Promise<string>((resolve) => {
      socket.once('secureConnect', () => resolve(describePeer(socket)));
      socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? ''));
    });
    const seen = await Promise.all([accepted, dialled]);
    socket.destroy();
    listener.close();
    return seen;
  }

  function tlsOptions({ privateKeyPem, chainPem, rootsPem }: WorkloadCertificate) {
    const versions = { minVersion: 'TLSv1.3', maxVersion: 'TLSv1.3' } as const;
    return { key: privateKeyPem, cert: chainPem, ca: rootsPem, rejectUnauthorized: true, ...versions };
  }

  function describePeer(socket: TLSSocket): string {
    return `${socket.getProtocol()} ${socket.authorized} ${socket.getPeerCertificate().subjectaltname}`;
  }

  const sawApi = 'TLSv1.3 true URI:spiffe://cluster.local/ns/shop/sa/api';
  const sawWeb = 'TLSv1.3 true URI:spiffe://cluster.local/ns/shop/sa/web';

  it('verify each other in TLS 1.3', async () => {
    pods.run('node-1', api);
    pods.run('node-1', web);
    const from = await nodeSigner();
    expect(await handshake(await fetch(from, api), await fetch(from, web))).toEqual([sawWeb, sawApi]);
  });

  it('verify each other at every step of a root rotation, renewed or not yet', async () => {
    pods.run('node-1', api);
    pods.run('node-1', web);
    const from = await nodeSigner();
    const pairs: WorkloadCertificate[][] = [];
    const renew = async () => pairs.push([await fetch(from, api), await fetch(from, web)]);
    await renew();
    await authority.startRotation();
    await renew();
    await authority.advanceRotation({ force: true });
    await renew();
    await authority.advanceRotation({ force: true });
    await renew();
    // Neighbours in time meet; the clock keeps steps that are further apart from meeting.
    for (const [older, newer] of pairs.slice(1).map((pair, index) => [pairs[index], pair])) {
      const [olderApi, olderWeb] = older as [WorkloadCertificate, WorkloadCertificate];
      const [newerApi, newerWeb] = newer as [WorkloadCertificate, WorkloadCertificate];
      expect(await handshake(olderApi, newerWeb)).toEqual([sawWeb, sawApi]);
      expect(await handshake(newerApi, olderWeb)).toEqual([sawWeb, sawApi]);
    }
  });
});
