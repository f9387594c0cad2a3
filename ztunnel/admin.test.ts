import { afterEach, describe, expect, it } from 'vitest';
import type { HttpEndpoint } from '../mesh/telemetry/http-endpoint.ts';
import { type AdminSources, openAdminServer } from './admin.ts';
import { openMetricsServer } from './metrics-server.ts';
import { ConnectionMetrics, renderMetrics } from './metrics.ts';
import { NodeMetrics } from './node-metrics.ts';
import { openReadinessServer, Readiness } from './readiness.ts';

let endpoint: HttpEndpoint;
const local = { address: '127.0.0.1', port: 0 };
const get = (path: string, init?: RequestInit) => fetch(`http://127.0.0.1:${endpoint.port}${path}`, init);

afterEach(() => endpoint.close());

describe('openAdminServer()', () => {
  async function start(): Promise<{ level: string; quits: number }> {
    const state = { level: 'info', quits: 0 };
    const sources: AdminSources = {
      configDump: async () => ({ workloads: [] }),
      certificates: async () => [{ identity: 'spiffe://td/ns/shop/sa/web' }],
      connections: async () => [],
      logLevel: () => state.level,
      setLogLevel(level) {
        if (level !== 'debug') return false;
        state.level = level;
        return true;
      },
      resetLogLevel() {
        state.level = 'info';
      },
      quit() {
        state.quits++;
      },
    };
    endpoint = await openAdminServer(sources, { port: 0 });
    return state;
  }

  it('lists its pages, and each listed page is there', async () => {
    await start();
    const index = await (await get('/')).text();
    const paths = [...index.matchAll(/href="([^"]+)"/g)].map(([, path]) => path as string);
    expect(paths).toContain('/config_dump');
    for (const path of paths) expect([200, 405]).toContain((await get(path)).status);
    expect(await (await get('/config_dump')).json()).toEqual({ workloads: [] });
  });

  it('changes the log level by POST only, refuses unknown ones, and sets it back', async () => {
    const state = await start();
    await get('/logging?level=debug');
    expect(state.level).toBe('info');
    expect((await get('/logging?level=loud', { method: 'POST' })).status).toBe(400);
    expect(await (await get('/logging?level=debug', { method: 'POST' })).text()).toBe(
      'current log level is debug\n',
    );
    await get('/logging?reset', { method: 'POST' });
    expect(state.level).toBe('info');
  });

  it('quits by POST only', async () => {
    const state = await start();
    expect((await get('/quitquitquit')).status).toBe(405);
    expect(state.quits).toBe(0);
    await get('/quitquitquit', { method: 'POST' });
    expect(state.quits).toBe(1);
  });
});

describe('openReadinessServer()', () => {
  it('is 500 with the names of pending tasks, then 200 ready', async () => {
    const readiness = new Readiness();
    const [xds, pods] = [readiness.task('xds'), readiness.task('pods')];
    endpoint = await openReadinessServer(readiness, local);
    xds();
    const pending = await get('/healthz/ready');
    expect([pending.status, await pending.text()]).toEqual([500, 'not ready, pending: pods\n']);
    pods();
    pods();
    const ready = await get('/healthz/ready');
    expect([ready.status, await ready.text()]).toEqual([200, 'ready']);
  });
});

describe('openMetricsServer()', () => {
  it('serves one well-formed OpenMetrics text of all sources at both paths', async () => {
    const node = new NodeMetrics({ version: '0.1.0' });
    node.request({ type: 1, protocol: 'udp', client: undefined });
    node.upstreamDuration({ type: 999, protocol: 'udp', client: undefined }, 0.01);
    node.podStarted();
    node.xdsMessage('type.googleapis.com/istio.workload.Address', 10);
    const connections = () => renderMetrics(new ConnectionMetrics().snapshot());
    endpoint = await openMetricsServer([connections, () => node.render()], local);
    const reply = await get('/metrics');
    expect(reply.headers.get('content-type')).toBe(
      'application/openmetrics-text; version=1.0.0; charset=utf-8',
    );
    const text = await reply.text();
    expect(text).toContain('istio_build{component="ztunnel",tag="0.1.0"} 1\n');
    expect(text).toMatch(/^istio_dns_requests_total\{request_query_type="A",request_protocol="udp",/m);
    expect(text).toContain('request_query_type="OTHER"');
    expect(text).toContain('workload_manager_proxies_started_total 1\n');
    expect(text).toContain(
      'istio_xds_message_bytes_total{url="type.googleapis.com/istio.workload.Address"} 10\n',
    );
    expect(text).toMatch(/^process_open_fds \d+$/m);
    expect(text.indexOf('# EOF\n')).toBe(text.length - 6);
    const types = [...text.matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name);
    expect(new Set(types).size).toBe(types.length);
    for (const line of text.trimEnd().split('\n')) {
      expect(line).toMatch(/^(# (HELP|TYPE) \S+ .+|# EOF|[a-zA-Z_:][\w:]*(\{[^}]*\})? \S+( # .*)?)$/);
    }
    expect((await get('/stats/prometheus')).status).toBe(200);
  });
});
