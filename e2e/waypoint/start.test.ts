// A waypoint's process, in this one, against a real controller over loopback: what it waits for, what it serves then, and
// what becomes of it when the controller goes away or the waypoint is asked to end.

import { mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Controller, type ControllerPorts } from '../../controller/app.ts';
import { parseControllerConfig } from '../../controller/config.ts';
import { JoinTokens } from '../../controller/identity/join-tokens.ts';
import { systemClock } from '../../mesh/runtime/clock.ts';
import { createLogger, setLogLevel } from '../../mesh/runtime/logger.ts';
import { Waypoint } from '../../waypoint/app.ts';
import { waypointConfig } from '../../waypoint/config.ts';

const logger = createLogger({ component: 'test', level: 'silent' });
const mesh = (backendPort: number) => `
apiVersion: v1
kind: Namespace
metadata: { name: shop, labels: { weft.dev/mode: ambient, weft.dev/waypoint: gate } }
---
apiVersion: weft.dev/v1alpha1
kind: ServiceEntry
metadata: { name: api, namespace: shop }
spec:
  hosts: [api.example]
  location: MESH_EXTERNAL
  resolution: STATIC
  ports: [{ number: 80, name: http, protocol: HTTP, targetPort: ${backendPort} }]
  endpoints: [{ address: 127.0.0.1 }]
`;
const gateway = `
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: gate, namespace: shop }
spec: { gatewayClassName: weft-waypoint, listeners: [{ name: mesh, port: 15008, protocol: HBONE }] }
`;

// The waypoint's parts have loggers of their own.
setLogLevel('error');

let root: string;
let backend: Server;
let controller: Controller | undefined;
let ports: ControllerPorts;
let waypoint: Waypoint | undefined;

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'weft-waypoint-'));
  await mkdir(join(root, 'config'));
  backend = createServer((request, response) => response.end(`hello ${request.url}`));
  await new Promise<void>((resolve) => backend.listen(0, '127.0.0.1', resolve));
  await manifest('mesh.yaml', mesh((backend.address() as AddressInfo).port));
  await startController('127.0.0.1:0');
});

afterEach(async () => {
  waypoint?.cutDrain();
  await waypoint?.stop('asked');
  waypoint = undefined;
  await controller?.stop();
  controller = undefined;
  backend.closeAllConnections();
  await new Promise((resolve) => backend.close(resolve));
  await rm(root, { recursive: true, force: true });
});

async function startController(address: string): Promise<void> {
  const parsed = parseControllerConfig({
    config: join(root, 'config'),
    state: join(root, 'state'),
    address,
    admin: '127.0.0.1:0',
    'log-level': 'silent',
  });
  if (!parsed.ok) throw new Error(parsed.problems.join('\n'));
  controller = new Controller(parsed.config, { clock: systemClock });
  ports = await controller.start();
}

/** Written beside and moved into place, as a careful editor does. */
async function manifest(name: string, text: string): Promise<void> {
  await writeFile(join(root, 'new'), text);
  await rename(join(root, 'new'), join(root, 'config', name));
}

async function startWaypoint(flags: readonly string[] = []): Promise<void> {
  const tokens = new JoinTokens({ stateDir: join(root, 'state'), clock: systemClock });
  const { token } = await tokens.createForWaypoint('shop/gate');
  await writeFile(join(root, 'token'), token);
  const parsed = waypointConfig(
    [
      '--gateway=shop/gate',
      `--controller=127.0.0.1:${ports.grpc}`,
      `--token-file=${join(root, 'token')}`,
      `--root-cert=${join(root, 'state', 'root-cert.pem')}`,
      '--hbone-address=127.0.0.1:0',
      '--state-dir=none',
      '--admin-port=0',
      '--metrics-port=0',
      '--readiness-port=0',
      '--log-level=error',
      ...flags,
    ],
    {},
  );
  if (!parsed.ok) throw new Error(parsed.problems.join('\n'));
  waypoint = new Waypoint(parsed.values, logger);
  await waypoint.start();
}

async function page(port: 'admin' | 'metrics' | 'readiness', path: string): Promise<string> {
  const reply = await fetch(`http://127.0.0.1:${waypoint?.pagePorts[port]}${path}`);
  return await reply.text();
}

/** Asks until the page says so. @throws when the waypoint fails; the test's own limit ends it otherwise */
async function untilReadiness(says: RegExp): Promise<void> {
  while (!says.test(await page('readiness', '/healthz/ready'))) {
    await Promise.race([delay(20), waypoint?.failed]);
  }
}

/** A port nobody listens on now. */
async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

describe('a waypoint', () => {
  it('is not ready, and listens nowhere, until the controller knows its Gateway', async () => {
    const port = await freePort();
    await startWaypoint([`--plain-listener=127.0.0.1:${port}=shop/api.example:80`]);
    await untilReadiness(/pending: configuration from the controller, certificate, listeners/);
    await expect(fetch(`http://127.0.0.1:${port}/`)).rejects.toThrow('fetch failed');
    await manifest('gateway.yaml', gateway);
    await untilReadiness(/^ready$/);
    const dump = JSON.parse(await page('admin', '/config_dump'));
    expect(dump.waypoint).toMatchObject({ gateway: 'shop/gate', ready: true, serviceAccount: 'gate' });
    expect(dump.certificates).toMatchObject([
      { identity: 'spiffe://cluster.local/ns/shop/sa/gate', state: 'Available' },
    ]);
    expect(dump.routings.map(({ key }: { key: string }) => key)).toEqual(['shop/gate|shop/api.example']);
  });

  it('serves requests by several workers, counts them as one, and goes on while the controller is away', async () => {
    await manifest('gateway.yaml', gateway);
    const port = await freePort();
    await startWaypoint([`--plain-listener=127.0.0.1:${port}=shop/api.example:80`, '--workers=2']);
    await untilReadiness(/^ready$/);
    const ask = async () => {
      const reply = await fetch(`http://127.0.0.1:${port}/a`, { headers: { connection: 'close' } });
      return `${reply.status} ${await reply.text()}`;
    };
    expect(await ask()).toBe('200 hello /a');
    await controller?.stop();
    controller = undefined;
    for (let i = 0; i < 20; i++) expect(await ask()).toBe('200 hello /a');
    const metrics = await page('metrics', '/metrics');
    expect(metrics).toMatch(/^istio_requests_total\{reporter="waypoint",.*response_code="200".*\} 21$/m);
    expect(metrics).toMatch(/^istio_build\{component="waypoint",/m);
    expect(metrics.endsWith('# EOF\n')).toBe(true);
  });

  it('holds clients to one rate limit over all workers, and follows the TrafficPolicy when it changes', async () => {
    const policy = (fields: string) => `apiVersion: weft.dev/v1alpha1
kind: TrafficPolicy
metadata: { name: limits, namespace: shop }
spec: { targetRefs: [{ group: weft.dev, kind: ServiceEntry, name: api }], ${fields} }
`;
    await manifest('gateway.yaml', gateway);
    await manifest('policy.yaml', policy('rateLimits: [{ per: SourceIP, requests: 5, interval: 1h }]'));
    const port = await freePort();
    await startWaypoint([`--plain-listener=127.0.0.1:${port}=shop/api.example:80`, '--workers=2']);
    await untilReadiness(/^ready$/);
    const ask = () => fetch(`http://127.0.0.1:${port}/`, { headers: { connection: 'close' } });
    const statuses: number[] = [];
    for (let i = 0; i < 12; i++) statuses.push((await ask()).status);
    expect(statuses).toEqual([...Array(5).fill(200), ...Array(7).fill(429)]);
    const refused = await ask();
    expect(refused.headers.get('ratelimit')).toMatch(/^"source-ip";r=0;t=7[12][0-9]$/);
    expect(refused.headers.get('retry-after')).toMatch(/^7[12][0-9]$/);
    await manifest('policy.yaml', policy('faults: [{ abort: { status: 418 } }]'));
    while ((await ask()).status !== 418) await delay(20);
  });

  it('continues traces and exports the spans to the collector that MeshConfig names', async () => {
    const exported = Promise.withResolvers<{ url: string; body: string }>();
    const collector = createServer((request, response) => {
      let body = '';
      request.on('data', (chunk) => (body += chunk));
      request.on('end', () => {
        exported.resolve({ url: request.url ?? '', body });
        response.end('{}');
      });
    });
    await new Promise<void>((resolve) => collector.listen(0, '127.0.0.1', resolve));
    const { port: collectorPort } = collector.address() as AddressInfo;
    await manifest('gateway.yaml', gateway);
    await manifest(
      'tracing.yaml',
      `apiVersion: weft.dev/v1alpha1
kind: MeshConfig
metadata: { name: default }
spec: { tracing: { endpoint: "http://127.0.0.1:${collectorPort}", samplingPercent: 0 } }
`,
    );
    const received = Promise.withResolvers<string | undefined>();
    backend.prependListener('request', ({ headers }) => received.resolve(headers['traceparent'] as string));
    const port = await freePort();
    await startWaypoint([`--plain-listener=127.0.0.1:${port}=shop/api.example:80`]);
    await untilReadiness(/^ready$/);
    const [traceId, caller] = ['4bf92f3577b34da6a3ce929d0e0e4736', '00f067aa0ba902b7'];
    const headers = { traceparent: `00-${traceId}-${caller}-01`, connection: 'close' };
    expect((await fetch(`http://127.0.0.1:${port}/traced`, { headers })).status).toBe(200);
    const [, spanId] =
      /^00-4bf92f3577b34da6a3ce929d0e0e4736-([0-9a-f]{16})-01$/.exec((await received.promise) ?? '') ?? [];
    expect(spanId).not.toBe(caller);
    const { url, body } = await exported.promise;
    const [span] = JSON.parse(body).resourceSpans[0].scopeSpans[0].spans;
    expect([url, span.traceId, span.spanId, span.parentSpanId]).toEqual([
      '/v1/traces',
      traceId,
      spanId,
      caller,
    ]);
    while (!(await page('metrics', '/metrics')).includes('weft_trace_spans_exported_total 1\n'))
      await delay(20);
    collector.closeAllConnections();
    await new Promise((resolve) => collector.close(resolve));
  });

  it('finishes what is under way when asked to end, and takes nothing new', async () => {
    await manifest('gateway.yaml', gateway);
    const [port, arrived, go] = [
      await freePort(),
      Promise.withResolvers<void>(),
      Promise.withResolvers<void>(),
    ];
    backend.removeAllListeners('request');
    backend.on('request', (_request, response) => {
      arrived.resolve();
      void go.promise.then(() => response.end('late'));
    });
    await startWaypoint([`--plain-listener=127.0.0.1:${port}=shop/api.example:80`]);
    await untilReadiness(/^ready$/);
    const late = fetch(`http://127.0.0.1:${port}/`);
    await arrived.promise;
    const stopped = waypoint?.stop('asked');
    waypoint = undefined;
    go.resolve();
    expect(await (await late).text()).toBe('late');
    await stopped;
    await expect(fetch(`http://127.0.0.1:${port}/`)).rejects.toThrow('fetch failed');
  });
});
