import { afterEach, describe, expect, it } from 'vitest';
import { openMetricsServer } from '../mesh/proxy/metrics-server.ts';
import type { HttpEndpoint } from '../mesh/telemetry/http-endpoint.ts';
import { ConnectionMetrics, renderMetrics } from './metrics.ts';
import { NodeMetrics } from './node-metrics.ts';

let endpoint: HttpEndpoint;
const local = { address: '127.0.0.1', port: 0 };
const get = (path: string) => fetch(`http://127.0.0.1:${endpoint.port}${path}`);

afterEach(() => endpoint.close());

describe('the metrics page of a node tunnel', () => {
  it('serves one well-formed OpenMetrics text of all sources at both paths', async () => {
    const node = new NodeMetrics({ version: '0.1.0' });
    node.request({ type: 1, protocol: 'udp', client: undefined });
    node.upstreamDuration({ type: 999, protocol: 'udp', client: undefined }, 0.01);
    node.podStarted();
    node.xds.message('type.googleapis.com/istio.workload.Address', 10);
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
